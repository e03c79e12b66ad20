"""Limits that follow what a site says."""

from __future__ import annotations

from babygun.routing.providers import Limits, Rate
from babygun.worker.sites.adaptation import (
    COUNTED,
    SETTLE,
    STEP_AFTER,
    STEP_SUCCESSES,
    Counts,
    Progress,
    halved,
    lowest,
    step_up,
)

TABLE = Limits(10, 100, Rate(100, 1.0))


def test_limits_are_halved_down_to_a_floor() -> None:
    limits, seen = TABLE, []
    for _ in range(20):
        limits = halved(halved(limits, "rate"), "connections")
        seen.append((limits.connections, str(limits.rate)))
    assert seen[:8] == [
        (5, "50/s"),
        (2, "25/s"),
        (1, "12/s"),
        (1, "6/s"),
        (1, "3/s"),
        (1, "1/s"),
        (1, "30/min"),
        (1, "15/min"),
    ]
    assert seen[-1] == (1, "1/min")
    assert halved(Limits(1, 1, Rate(1, 3600.0)), "rate").rate == Rate(1, 3600.0)


def test_steps_go_up_to_the_ceiling_and_not_beyond() -> None:
    limits, steps = lowest(TABLE), 0
    assert (limits.connections, limits.rate) == (1, Rate(1, 1.0))
    while limits != TABLE:
        higher = step_up(limits, TABLE)
        assert higher.within(limits) == limits and higher.within(TABLE) == higher
        limits, steps = higher, steps + 1
    assert steps == 9
    assert step_up(TABLE, TABLE) == TABLE


def test_site_that_takes_little_anyway_begins_with_its_own_rate() -> None:
    assert lowest(Limits(5, 50, Rate(10, 60.0))).rate == Rate(10, 60.0)


def test_step_up_needs_successes_in_a_row_and_time() -> None:
    progress = Progress(now=0.0)
    assert not progress.settled(SETTLE - 1) and progress.settled(SETTLE)
    assert not any(progress.succeeded(1.0) for _ in range(2 * STEP_SUCCESSES))
    assert progress.succeeded(STEP_AFTER)
    progress.asked_for_less()
    assert not progress.succeeded(STEP_AFTER)
    assert [progress.succeeded(STEP_AFTER) for _ in range(STEP_SUCCESSES - 1)][-1]


def test_replies_count_within_an_hour_and_by_rule() -> None:
    counts = Counts()
    assert counts.add("a", 0.0) == counts.add("b", 1.0) == 1
    assert counts.add("a", COUNTED) == 1, "the first one is an hour old"
    assert counts.add("a", COUNTED + 1) == 2
    assert dict(counts.all(COUNTED + 1)) == {"a": 2}
    counts.begin_again("a")
    assert counts.of("a", COUNTED + 2) == 0 and counts.add("a", COUNTED + 2) == 1
