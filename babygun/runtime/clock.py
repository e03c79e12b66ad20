"""Time of day as the project stores and shows it: UTC, in whole milliseconds. And ages."""

from __future__ import annotations

import time
from datetime import UTC, datetime

# Linux stops CLOCK_MONOTONIC while the machine sleeps, and macOS does not.
_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def since_boot() -> float:
    """Seconds that no step of the clock changes, and that go on while the machine sleeps.

    For the age of what another machine judges too, such as a lease. time.monotonic() stands still.
    """
    return time.clock_gettime(_SINCE_BOOT)


def utc_now() -> datetime:
    """Now, in UTC, cut to a millisecond."""
    return at_ms(time.time_ns() // 1_000_000)


def at_ms(ms: int) -> datetime:
    """The time of so many milliseconds after the epoch, exactly."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def format_time(at: datetime) -> str:
    """``2026-11-24T23:46:51.123Z``: fixed width, so that it sorts as text."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """The inverse of :func:`format_time`; raises ValueError."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
