"""The pace of slots: all together stay within the rate, in any window."""

from __future__ import annotations

from fractions import Fraction

import pytest

from babygun.routing.providers import Limits, Rate
from babygun.worker.sites.pace import MARGIN, Pace, interval, part_of, slot_count

LIMITS = [
    Limits(2, 20, Rate(5, 1.0)),
    Limits(10, 100, Rate(100, 1.0)),
    Limits(10, 100, Rate(7, 1.0)),
    Limits(5, 50, Rate(10, 60.0)),
    Limits(1, 50, Rate(1, 60.0)),
    Limits(25, 1000, Rate(1000, 60.0)),
    Limits(4, 8, Rate(3, 2.0)),
]


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        (Limits(2, 20, Rate(5, 1.0)), 2),
        (Limits(10, 100, Rate(100, 1.0)), 10),
        (Limits(10, 100, Rate(2, 1.0)), 2),
        (Limits(5, 50, Rate(10, 60.0)), 1),
        (Limits(5, 50, Rate(1, 60.0)), 1),
    ],
)
def test_slots_are_as_many_as_the_limits_are_worth(limits: Limits, count: int) -> None:
    assert slot_count(limits) == count


@pytest.mark.parametrize("limits", LIMITS, ids=str)
def test_all_slots_together_stay_within_the_rate_in_any_window(limits: Limits) -> None:
    """Each slot sends whenever it may. A window that begins with a message of each is the worst."""
    seconds = limits.rate.seconds
    sent = sum(
        1 + int(Fraction(seconds) / Fraction(interval(limits, number)))
        for number in range(1, slot_count(limits) + 1)
    )
    assert 0.95 * limits.rate.messages <= sent <= limits.rate.messages
    used = sum(seconds / interval(limits, n) for n in range(1, slot_count(limits) + 1))
    assert used == pytest.approx(limits.rate.messages / MARGIN)


def test_new_owner_of_a_slot_waits_a_whole_pace_first() -> None:
    pace = Pace(0.5, now=100.0)
    assert pace.next_at == 100.5
    pace.sent(101.0)
    assert pace.next_at == 101.5
    pace.interval = 2.0  # the limits were lowered
    assert pace.next_at == 103.0


def test_part_of_a_worker_is_its_share_of_connections_and_rate() -> None:
    whole = Limits(10, 100, Rate(100, 1.0))
    part = part_of(whole, 3)
    assert (part.connections, part.messages_per_connection) == (4, 100)
    assert 3 * part.rate.messages / part.rate.seconds == pytest.approx(100)
    assert part_of(whole, 0) == part_of(whole, 1) == whole
    assert part_of(Limits(1, 1, Rate(1, 60.0)), 5).connections == 1
