"""How many connections a destination takes, as it shows by turning them away. Pure."""

from __future__ import annotations

GROW = 5.0  # s, until a limit that has shrunk grows by one


class ConnectionLimit:
    """At most ``most``. It shrinks to what the destination allows, and grows back by itself.

    Times are seconds of one clock.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._shrunk_to = most
        self._shrunk_at = 0.0
        self._for_sure = False

    def at(self, now: float) -> int:
        if self._shrunk_to < self._most:
            limit = self._shrunk_to + int((now - self._shrunk_at) / GROW)
            if limit < self._most:
                return limit
            self._shrunk_to, self._for_sure = self._most, False
        return self._most

    def shrink(self, to: int, now: float, *, for_sure: bool = False) -> None:
        """The destination turned a connection away while ``to`` others were there.

        ``for_sure``: its words said that they are too many.
        """
        self._shrunk_to, self._shrunk_at = to, now
        self._for_sure = self._for_sure or for_sure

    def reset(self) -> None:
        """Forgets that it has shrunk, unless that was for sure."""
        if not self._for_sure:
            self._shrunk_to = self._most
