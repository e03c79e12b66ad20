"""Rates out of counters: pure, so with times of the test's own."""

from __future__ import annotations

import pytest

from babygun.store.cluster.rates import POINTS, STEP, Rates

T = 1_800_000_000.0  # begins a step


def new_rates() -> Rates:
    return Rates(("sent", "failed"))


def test_growth_is_spread_over_the_time_between_two_reports() -> None:
    rates = new_rates()
    rates.add("a", {"sent": 0}, T)
    rates.add("a", {"sent": 60}, T + 6)
    rates.add("a", {"sent": 60}, T + 20)
    history = rates.history(T + 20)
    assert history.start == T
    assert history.values == {"sent": [10.0, 2.0, 0.0], "failed": [0.0, 0.0, 0.0]}


def test_history_loses_nothing_however_reports_fall() -> None:
    rates = new_rates()
    at, count = T, 0
    rates.add("a", {"sent": 0}, at)
    for number in range(200):
        at += 0.1 + number % 7
        count += number % 5
        rates.add("a", {"sent": count}, at)
    rates.add("a", {"sent": count}, at + 10)
    assert sum(rates.history(at + 10).values["sent"]) * STEP == pytest.approx(count, abs=0.5)


def test_sources_are_added_up() -> None:
    rates = new_rates()
    for source, count in (("a", 20), ("b", 30)):
        rates.add(source, {"sent": 0}, T)
        rates.add(source, {"sent": count}, T + 5)
    assert rates.now(T + 5) == {"sent": 10.0, "failed": 0.0}
    assert rates.history(T + 10).values["sent"] == [10.0]


def test_first_report_is_no_growth() -> None:
    rates = new_rates()
    rates.add("a", {"sent": 1_000_000}, T)
    rates.add("a", {"sent": 1_000_010}, T + 5)
    assert rates.now(T + 5)["sent"] == 2.0
    assert rates.history(T + 10).values["sent"] == [2.0]


def test_restarted_counter_counts_from_zero_and_is_never_negative() -> None:
    rates = new_rates()
    for count, at in ((500, T), (1000, T + 5), (10, T + 10)):
        rates.add("a", {"sent": count}, at)
    assert rates.now(T + 10)["sent"] == 2.0
    assert rates.history(T + 15).values["sent"] == [100.0, 2.0]


def test_source_that_comes_back_goes_on_from_where_it_was() -> None:
    rates = new_rates()
    rates.add("a", {"sent": 0}, T)
    rates.add("a", {"sent": 50}, T + 5)
    rates.leave("a")
    assert rates.now(T + 5)["sent"] == 0.0
    rates.add("a", {"sent": 100}, T + 15)
    assert rates.now(T + 15)["sent"] == 5.0
    assert rates.history(T + 20).values["sent"] == [10.0, 5.0, 5.0]


def test_reports_that_follow_each_other_at_once_do_not_make_a_peak() -> None:
    rates = new_rates()
    rates.add("a", {"sent": 0}, T)
    rates.add("a", {"sent": 30}, T + 3)
    rates.add("a", {"sent": 31}, T + 3.01)
    assert rates.now(T + 3.01)["sent"] == 10.0
    rates.add("a", {"sent": 60}, T + 6)
    assert rates.now(T + 6)["sent"] == 10.0


def test_source_that_falls_silent_counts_no_more_in_the_rate_of_now() -> None:
    rates = new_rates()
    rates.add("a", {"sent": 0}, T)
    rates.add("a", {"sent": 30}, T + 3)
    assert rates.now(T + 11)["sent"] == 10.0
    assert rates.now(T + 13)["sent"] == 0.0


def test_step_that_is_not_settled_is_not_shown() -> None:
    rates = new_rates()
    rates.add("a", {"sent": 0}, T)
    rates.add("a", {"sent": 90}, T + 9)
    assert rates.history(T + 9).values["sent"] == []
    assert rates.history(T + 10).values["sent"] == [10.0]


def test_history_is_bounded_to_an_hour() -> None:
    rates = new_rates()
    for second in range(0, 3 * 3600, 5):
        rates.add("a", {"sent": second}, T + second)
    history = rates.history(T + 3 * 3600)
    assert (
        history.values["sent"] == [1.0] * (POINTS - 1) + [0.0]
        or history.values["sent"] == [1.0] * POINTS
    )
    assert history.start == T + 3 * 3600 - STEP * (POINTS + 1)
    assert len(rates._steps) <= 2 * POINTS


def test_gap_of_hours_is_spread_over_the_last_hour_only() -> None:
    rates = new_rates()
    rates.add("a", {"sent": 0}, T)
    rates.add("a", {"sent": 3600}, T + 48 * 3600)
    rates.add("a", {"sent": 3600}, T + 48 * 3600 + 5)
    assert rates.history(T + 48 * 3600 + 5).values["sent"] == [1.0] * POINTS


def test_clock_that_is_put_back_begins_again() -> None:
    rates = new_rates()
    rates.add("a", {"sent": 0}, T + 100)
    rates.add("a", {"sent": 50}, T + 50)
    rates.add("a", {"sent": 60}, T + 55)
    assert rates.now(T + 55)["sent"] == 2.0
