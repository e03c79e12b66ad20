"""Sends messages to one destination, each over a connection of its pool.

A message may have to go out again on another connection (:mod:`again`): the server had hung up,
says 421, or refuses the session. That happens as if nothing had happened before. What the server
does not manage is remembered (:mod:`workarounds`).
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from babygun.routing.destination import Destination
from babygun.smtp.again import Again, PipeliningBroke
from babygun.smtp.connect_failed import ConnectFailed
from babygun.smtp.connections import Connections
from babygun.smtp.envelope import Envelope, Outcome
from babygun.smtp.opener import Opener
from babygun.smtp.replies import Reply
from babygun.smtp.transaction import transact
from babygun.smtp.workarounds import Workarounds

# Connections that one message uses up at most. The second one is fresh, unless the destination
# turned that away: then it may be another old one. Three may go: dead, no BDAT, no pipelining.
_ATTEMPTS = 4


class SmtpPool:
    """The pool of one destination, in one event loop. Times in seconds.

    ``connect_timeout``: for connecting, TLS and login together.
    ``timeout``: for a reply to a command.
    ``data_timeout``: for the reply to a message, and for a write that makes no progress.
    ``idle``: how long an unused connection is kept.
    ``workarounds``: what the server is known not to manage.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        hostname: str,
        connect_timeout: float,
        timeout: float,
        data_timeout: float,
        idle: float,
        workarounds: Workarounds | None = None,
    ) -> None:
        self.destination = destination
        self._opener = Opener(
            destination,
            workarounds or Workarounds(),
            hostname=hostname,
            connect_timeout=connect_timeout,
            timeout=timeout,
            data_timeout=data_timeout,
        )
        self.connections = Connections(
            self._opener, most=destination.max_connections, patience=connect_timeout, idle=idle
        )

    async def deliver(self, envelope: Envelope, *, may_send: Callable[[], bool]) -> Outcome:
        """Sends a message. Whatever the server does becomes part of the outcome.

        ``may_send`` is asked right before the content goes out. Raises NotSent where it says no,
        and where the pool is closed meanwhile. Cancelled, it closes the connection.
        """
        connections = self.connections
        try:
            connection = await connections.acquire()
        except ConnectFailed as failed:
            return Outcome(dict.fromkeys(envelope.recipients, failed.reply))
        try:
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    outcome = await transact(connection, envelope, may_send)
                    if connection.capabilities.pipelining and not connection.lost:
                        self._opener.pipelining_worked()
                    if connection.plain_because:
                        note = f"sent in plain text, since TLS failed: {connection.plain_because}"
                        return replace(outcome, note=note)
                    return outcome
                except Again as again:
                    if feature := self._opener.learn(again):
                        connections.forbid(feature)
                    if attempt == _ATTEMPTS or connections.closed or not again.again:
                        return Outcome(again.replies)
                    broke = isinstance(again, PipeliningBroke)
                try:
                    connection = await connections.exchange(connection)
                except ConnectFailed as failed:
                    return Outcome(dict.fromkeys(envelope.recipients, failed.reply))
                if broke:
                    connection.forbid("pipelining")
        except BaseException:
            connection.abort("given up in the middle of a transaction")
            raise
        finally:
            connections.release(connection)
        raise AssertionError("the last attempt returns")

    def crowded(self, reply: Reply) -> None:
        """The destination says that it has too many connections: fewer are opened for a while."""
        self.connections.crowded(reply)

    async def close(self) -> None:
        """Closes everything, within some seconds. A message that waits gets NotSent."""
        await self.connections.close()
