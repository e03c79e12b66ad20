"""Pauses that grow: after a claim that etcd did not answer, and of a queue. Pure."""

from __future__ import annotations

LEAST, MOST = 0.05, 2.0  # s


class GrowingPause:
    """Without it, an etcd that refuses claims would be asked as fast as it refuses.

    Each pause is twice as long as the one before, until a claim is answered. Times are seconds of
    one clock.
    """

    def __init__(self, least: float = LEAST, most: float = MOST) -> None:
        self._until = 0.0
        self._least, self._most = least, most
        self._next = least

    def left(self, now: float) -> float:
        """How much of the pause is left; 0: claims may be made."""
        return max(0.0, self._until - now)

    def unanswered(self, now: float) -> float:
        """Begins a pause and returns its length; 0 where one has begun already."""
        if now < self._until:
            return 0.0
        pause = self._next
        self._until, self._next = now + pause, min(self._most, 2 * pause)
        return pause

    def answered(self) -> None:
        self._next = self._least
