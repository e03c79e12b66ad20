"""When a try is made again. This module alone decides it.

Another schedule is a change of it, and of the settings that make a :class:`Schedule`
(:mod:`babygun.routing.schedules`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import blake2b

from msgspec import Struct

from babygun.email.model import Job


class Schedule(Struct, frozen=True, gc=False):
    """``intervals``: seconds between tries. There is one try more than there are intervals.

    ``jitter``: by which part of an interval it may be longer or shorter. Otherwise all that failed
    together would come back together.
    """

    intervals: tuple[float, ...]
    jitter: float = 0.0


Schedules = Callable[[str], Schedule]  # by queue


def next_try(
    queue: str,
    *,
    email_id: str,
    retry_after: float | None,
    tries: int,
    schedule: Schedules,
    now: datetime,
    expires_at: datetime | None = None,
) -> datetime | None:
    """When a recipient that failed softly is tried again. None: it has no more tries.

    ``queue``: the recipient's. ``retry_after``: seconds that the server asked for; they replace the
    interval. ``tries``: how many it has had, this one included. ``expires_at``: the e-mail's end;
    no try begins after it.
    """
    intervals, jitter = schedule(queue).intervals, schedule(queue).jitter
    if tries > len(intervals):
        return None
    wait = retry_after
    if wait is None:
        wait = intervals[tries - 1]
        if jitter:
            wait *= 1 + jitter * _chance(f"{email_id} {queue} {tries}")
    due = now + timedelta(seconds=wait)
    return None if expires_at is not None and due >= expires_at else due


def _chance(text: str) -> float:
    """A number from -1 to 1, the same for the same text: a decision can be made again."""
    number = int.from_bytes(blake2b(text.encode(), digest_size=4).digest())
    return number / 0xFFFFFFFF * 2 - 1


def most_tries(queue: str, schedule: Schedules) -> int:
    """How many tries a recipient of the queue gets at most."""
    return len(schedule(queue).intervals) + 1


def end_of_held(
    job: Job,
    *,
    accepted: datetime,
    held_since: datetime,
    expires_after: float,
    schedule: Schedule,
) -> datetime:
    """When a job of a held site ends without a try: at its e-mail's own end, where it has one.

    Otherwise ``expires_after`` seconds count from the hold, or from when the job became ready if
    that was later. It does not end before its tries would have.
    """
    if job.expires_at is not None:
        return job.expires_at
    waits = max(held_since, job.since or accepted) + timedelta(seconds=expires_after)
    return max(waits, accepted + timedelta(seconds=sum(schedule.intervals)))
