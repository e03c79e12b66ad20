"""When a try is made again. This module alone decides it.

Another schedule is a change of it, and of the settings that :class:`Schedule` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol


class Schedule(Protocol):
    """The settings that say when a try is made again, of :mod:`babygun.runtime.settings`.

    ``retry_intervals``: the seconds between tries. There is one try more than there are intervals.
    """

    @property
    def retry_intervals(self) -> Sequence[float]: ...


def next_try(
    queue: str,
    *,
    reply_class: str,
    retry_after: float | None,
    tries: int,
    schedule: Schedule,
    now: datetime,
) -> datetime | None:
    """When a recipient that failed softly is tried again. None: it has no more tries.

    ``queue``: the recipient's. ``reply_class``: why it failed. ``retry_after``: seconds that the
    server asked for; they replace the interval. ``tries``: how many it has had, this one included.
    """
    if tries >= most_tries(queue, schedule):
        return None
    wait = schedule.retry_intervals[tries - 1] if retry_after is None else retry_after
    return now + timedelta(seconds=wait)


def most_tries(queue: str, schedule: Schedule) -> int:
    """How many tries a recipient of the queue gets at most."""
    return len(schedule.retry_intervals) + 1
