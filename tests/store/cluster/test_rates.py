"""Rates out of counters: pure, so with times of the test's own."""

from __future__ import annotations

import pytest

from babygun.store.cluster.rates import POINTS, STEP, Rates

T = 1_800_000_000.0  # begins a step


def rates() -> Rates:
    return Rates(("sent", "failed"))


def test_growth_is_spread_over_the_time_between_two_tellings() -> None:
    told = rates()
    told.tell("a", {"sent": 0}, T)
    told.tell("a", {"sent": 60}, T + 6)
    told.tell("a", {"sent": 60}, T + 20)
    history = told.history(T + 20)
    assert history.start == T
    assert history.values == {"sent": [10.0, 2.0, 0.0], "failed": [0.0, 0.0, 0.0]}


def test_history_loses_nothing_however_tellings_fall() -> None:
    told = rates()
    at, count = T, 0
    told.tell("a", {"sent": 0}, at)
    for number in range(200):
        at += 0.1 + number % 7
        count += number % 5
        told.tell("a", {"sent": count}, at)
    told.tell("a", {"sent": count}, at + 10)
    assert sum(told.history(at + 10).values["sent"]) * STEP == pytest.approx(count, abs=0.5)


def test_sources_are_added_up() -> None:
    told = rates()
    for source, count in (("a", 20), ("b", 30)):
        told.tell(source, {"sent": 0}, T)
        told.tell(source, {"sent": count}, T + 5)
    assert told.now(T + 5) == {"sent": 10.0, "failed": 0.0}
    assert told.history(T + 10).values["sent"] == [10.0]


def test_first_telling_is_no_growth() -> None:
    told = rates()
    told.tell("a", {"sent": 1_000_000}, T)
    told.tell("a", {"sent": 1_000_010}, T + 5)
    assert told.now(T + 5)["sent"] == 2.0
    assert told.history(T + 10).values["sent"] == [2.0]


def test_restarted_counter_counts_from_zero_and_is_never_negative() -> None:
    told = rates()
    for count, at in ((500, T), (1000, T + 5), (10, T + 10)):
        told.tell("a", {"sent": count}, at)
    assert told.now(T + 10)["sent"] == 2.0
    assert told.history(T + 15).values["sent"] == [100.0, 2.0]


def test_source_that_comes_back_goes_on_from_where_it_was() -> None:
    told = rates()
    told.tell("a", {"sent": 0}, T)
    told.tell("a", {"sent": 50}, T + 5)
    told.gone("a")
    assert told.now(T + 5)["sent"] == 0.0
    told.tell("a", {"sent": 100}, T + 15)
    assert told.now(T + 15)["sent"] == 5.0
    assert told.history(T + 20).values["sent"] == [10.0, 5.0, 5.0]


def test_tellings_that_follow_each_other_at_once_do_not_make_a_peak() -> None:
    told = rates()
    told.tell("a", {"sent": 0}, T)
    told.tell("a", {"sent": 30}, T + 3)
    told.tell("a", {"sent": 31}, T + 3.01)
    assert told.now(T + 3.01)["sent"] == 10.0
    told.tell("a", {"sent": 60}, T + 6)
    assert told.now(T + 6)["sent"] == 10.0


def test_source_that_falls_silent_counts_no_more_in_the_rate_of_now() -> None:
    told = rates()
    told.tell("a", {"sent": 0}, T)
    told.tell("a", {"sent": 30}, T + 3)
    assert told.now(T + 11)["sent"] == 10.0
    assert told.now(T + 13)["sent"] == 0.0


def test_step_that_is_not_settled_is_not_shown() -> None:
    told = rates()
    told.tell("a", {"sent": 0}, T)
    told.tell("a", {"sent": 90}, T + 9)
    assert told.history(T + 9).values["sent"] == []
    assert told.history(T + 10).values["sent"] == [10.0]


def test_history_is_bounded_to_an_hour() -> None:
    told = rates()
    for second in range(0, 3 * 3600, 5):
        told.tell("a", {"sent": second}, T + second)
    history = told.history(T + 3 * 3600)
    assert (
        history.values["sent"] == [1.0] * (POINTS - 1) + [0.0]
        or history.values["sent"] == [1.0] * POINTS
    )
    assert history.start == T + 3 * 3600 - STEP * (POINTS + 1)
    assert len(told._steps) <= 2 * POINTS


def test_gap_of_hours_is_spread_over_the_last_hour_only() -> None:
    told = rates()
    told.tell("a", {"sent": 0}, T)
    told.tell("a", {"sent": 3600}, T + 48 * 3600)
    told.tell("a", {"sent": 3600}, T + 48 * 3600 + 5)
    assert told.history(T + 48 * 3600 + 5).values["sent"] == [1.0] * POINTS


def test_clock_that_is_put_back_begins_anew() -> None:
    told = rates()
    told.tell("a", {"sent": 0}, T + 100)
    told.tell("a", {"sent": 50}, T + 50)
    told.tell("a", {"sent": 60}, T + 55)
    assert told.now(T + 55)["sent"] == 2.0
