"""When a try is made again. This module alone decides it.

Another schedule is a change of it, and of the settings that :class:`Schedule` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from babygun.email.model import Job


class Schedule(Protocol):
    """The settings that say when a try is made again, of :mod:`babygun.runtime.settings`.

    ``retry_intervals``: the seconds between tries. There is one try more than there are intervals.
    ``hold_expires_after``: seconds that an e-mail without an end of its own may be held.
    """

    @property
    def retry_intervals(self) -> Sequence[float]: ...

    @property
    def hold_expires_after(self) -> float: ...


def next_try(
    queue: str,
    *,
    reply_class: str,
    retry_after: float | None,
    tries: int,
    schedule: Schedule,
    now: datetime,
    expires_at: datetime | None = None,
) -> datetime | None:
    """When a recipient that failed softly is tried again. None: it has no more tries.

    ``queue``: the recipient's. ``reply_class``: why it failed. ``retry_after``: seconds that the
    server asked for; they replace the interval. ``tries``: how many it has had, this one included.
    ``expires_at``: the e-mail's end; no try begins after it.
    """
    if tries >= most_tries(queue, schedule):
        return None
    wait = schedule.retry_intervals[tries - 1] if retry_after is None else retry_after
    due = now + timedelta(seconds=wait)
    return None if expires_at is not None and due >= expires_at else due


def most_tries(queue: str, schedule: Schedule) -> int:
    """How many tries a recipient of the queue gets at most."""
    return len(schedule.retry_intervals) + 1


def end_of_held(
    job: Job, *, accepted: datetime, held_since: datetime, schedule: Schedule
) -> datetime:
    """When a job of a held queue ends without a try: at its e-mail's own end, where it has one.

    Otherwise the time counts from the hold, or from when the job became ready if that was later.
    """
    if job.expires_at is not None:
        return job.expires_at
    return max(held_since, job.since or accepted) + timedelta(seconds=schedule.hold_expires_after)
