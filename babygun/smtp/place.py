"""A permit, and the connection that it is for."""

from __future__ import annotations

from collections.abc import Callable

from babygun.smtp.connection import Connection
from babygun.smtp.permits import UNLIMITED, Permit


class Place:
    """The right to one connection, from before it is opened until it is closed.

    ``close_if_idle``: called when somebody else wants the permit.
    """

    def __init__(self, close_if_idle: Callable[[Connection], None]) -> None:
        self._close_if_idle = close_if_idle
        self._connection: Connection | None = None
        self._given_back = False
        self._wanted = False
        self.permit: Permit = UNLIMITED

    def belongs_to(self, connection: Connection) -> bool:
        """The connection was opened. False: the permit was lost meanwhile, and it is closed."""
        self._connection = connection
        if self.permit is not UNLIMITED:
            connection.permit = self.permit
        if self._wanted:
            self.wanted()
        return not self.permit.lost

    def wanted(self) -> None:
        """Somebody else needs the permit, or it is lost."""
        self._wanted = True
        connection = self._connection
        if connection is None:
            return
        if self.permit.lost:
            connection.abort("the right to the connection was lost")
        else:
            connection.retired = True  # if it is busy, it is closed after its message
            self._close_if_idle(connection)

    def give_back(self) -> None:
        if not self._given_back:
            self._given_back = True
            self._connection = None  # which knows this place: neither would be freed for long
            self.permit.give_back()
