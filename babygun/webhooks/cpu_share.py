"""Leaves mail the CPU: where it is short while a worker sends mail, notices get a small part.

Notices that wait are late, and lose nothing. Mail that waits is what people notice first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

SHARE = 0.04  # of a worker's time, while it sends mail and CPU is short
_SAVED = 0.25  # s, whose share may be used at once
_EVERY = 0.25  # s, between two looks at how busy the CPU is
_BUSY, _IDLE = 0.7, 0.15  # of a core, by this process; of all cores, that nobody uses
_STAT = Path("/proc/stat")


class CpuShare:
    """Ask :meth:`is_free` before work, and report it by :meth:`use`. Times are of one clock, in s.

    ``is_sending``: whether mail is being sent. ``is_short``: whether CPU is.
    """

    def __init__(self, is_sending: Callable[[], bool], is_short: Callable[[float], bool]) -> None:
        self._is_sending, self._is_short = is_sending, is_short
        self._left, self._at = SHARE * _SAVED, 0.0

    def is_free(self, now: float) -> bool:
        """Whether there is CPU for notices now."""
        if not self._is_sending() or not self._is_short(now):
            return True
        self._left = min(SHARE * _SAVED, self._left + SHARE * max(0.0, now - self._at))
        self._at = now
        return self._left > 0

    def use(self, seconds: float) -> None:
        """So much time went to notices."""
        self._left = max(-SHARE, self._left - seconds)


class CpuWatch:
    """Whether this process, or the whole machine, is near its limit; looked at now and then.

    Where the system does not say how idle it is, this process alone counts.
    """

    def __init__(self) -> None:
        self._next = 0.0
        self._before = (0.0, 0.0, 0, 0)
        self._short = False

    def is_short(self, now: float) -> bool:
        if now >= self._next:
            self._next = now + _EVERY
            after = (now, time.process_time(), *_machine())
            seconds, own, idle, ticks = (b - a for a, b in zip(self._before, after, strict=True))
            busy = own >= _BUSY * seconds
            self._short = busy or (ticks > 0 and idle <= _IDLE * ticks)
            self._before = after
        return self._short


def _machine() -> tuple[int, int]:
    """The ticks that all cores were idle, and all their ticks; zeros: the system does not say."""
    try:
        ticks = list(map(int, _STAT.read_text().split("\n", 1)[0].split()[1:9]))
    except (OSError, ValueError):
        return 0, 0
    return ticks[3] + ticks[4], sum(ticks)
