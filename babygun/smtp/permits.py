"""The right to open connections to a site, as this room asks for it. The worker says who has it.

What a site takes may be shared with other pools of this process, and with other processes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Permit(Protocol):
    """The right to one open connection to a site."""

    @property
    def lost(self) -> bool:
        """Whether the right has ended by itself: nothing may go over the connection any more."""

    async def pace(self) -> None:
        """Waits until the next message may go out. Called right before each MAIL."""

    def used(self) -> bool:
        """A message has gone out. True: the connection is to carry no further one.

        It has carried as many as the site takes, or an urgent pool waits for room.
        """

    def give_back(self) -> None:
        """The connection is closed, or was not opened. Called once for each permit."""


class Permits(Protocol):
    """Those of one site."""

    def try_take(self, wanted: Callable[[], None], *, urgent: bool) -> Permit | None:
        """A permit; None: there is no room now.

        ``wanted`` is called when somebody else needs it, or when it is lost. An idle connection is
        then closed at once. A busy one is closed after its message; at once if the permit is lost.
        ``urgent``: the pool has no connection at all, so that of another pool may be wanted.
        """

    def on_room(self, callback: Callable[[], None], *, urgent: bool) -> None:
        """Calls once, when :meth:`try_take` may have room again. Who asked first is called first.

        ``urgent``: as there. The callback may find that it needs nothing. Then the room is for the
        next one.
        """


class _Unlimited:
    """As many as one likes: a permit and permits in one, since nothing is counted."""

    lost = False

    def try_take(self, wanted: Callable[[], None], *, urgent: bool) -> Permit:
        return self

    def on_room(self, callback: Callable[[], None], *, urgent: bool) -> None:
        raise AssertionError("there is always room")

    async def pace(self) -> None:
        pass

    def used(self) -> bool:
        return False

    def give_back(self) -> None:
        pass


UNLIMITED = _Unlimited()
