"""Leaves mail the CPU: while a worker sends mail, its notices get a small part of the time.

Notices that wait are late, and lose nothing. Mail that waits is what people notice first.
"""

from __future__ import annotations

from collections.abc import Callable

SHARE = 0.04  # of a worker's time, while it sends mail
_SAVED = 0.25  # s, whose share may be used at once


class CpuShare:
    """Ask :meth:`is_free` before work, and report it by :meth:`use`. Times are of one clock, in s.

    ``is_sending``: whether mail is being sent.
    """

    def __init__(self, is_sending: Callable[[], bool]) -> None:
        self._is_sending = is_sending
        self._left, self._at = SHARE * _SAVED, 0.0

    def is_free(self, now: float) -> bool:
        """Whether there is CPU for notices now."""
        if not self._is_sending():
            return True
        self._left = min(SHARE * _SAVED, self._left + SHARE * max(0.0, now - self._at))
        self._at = now
        return self._left > 0

    def use(self, seconds: float) -> None:
        """So much time went to notices."""
        self._left -= seconds
