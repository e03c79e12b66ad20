"""Sends messages to one destination, each over a connection of its pool.

A message may have to go out again on another connection (:mod:`again`): the server had hung up,
says 421, refuses the session, or refuses our address of IPv6. That happens as if nothing had
happened before. What servers do not manage is remembered (:mod:`known_servers`).
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from babygun.routing.destination import Destination
from babygun.smtp.again import Again, Ipv6Refused, PipeliningBroke, is_soft
from babygun.smtp.connect_failed import ConnectFailed
from babygun.smtp.connection import Connection
from babygun.smtp.connections import Connections
from babygun.smtp.envelope import Envelope, NoConnection, Outcome
from babygun.smtp.known_servers import KnownServers
from babygun.smtp.opener import Opener
from babygun.smtp.permits import UNLIMITED, Permits
from babygun.smtp.replies import Reply
from babygun.smtp.transaction import transact

# Connections that one message uses up at most. The second one is fresh, unless the destination
# turned that away: then it may be another old one. Three may go: dead, no BDAT, no pipelining.
_ATTEMPTS = 4


class SmtpPool:
    """The pool of one destination, in one event loop. Times in seconds.

    ``connect_timeout``: for connecting, TLS and login together; for each server.
    ``timeout``: for a reply to a command.
    ``data_timeout``: for the reply to a message, and for a write that makes no progress.
    ``idle``: how long an unused connection is kept.
    ``known``: what this process knows of servers. ``permits``: those of the destination's site.
    ``refuses_ipv6``: whether a reply over IPv6 says that IPv4 may do.
    ``for_email``: as :meth:`Destination.servers` takes it, for all messages of this pool.
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
        known: KnownServers | None = None,
        permits: Permits = UNLIMITED,
        refuses_ipv6: Callable[[Reply], bool] = lambda reply: False,
        for_email: str = "",
    ) -> None:
        self.destination = destination
        self._refuses_ipv6 = refuses_ipv6
        known = known or KnownServers()
        self._opener = Opener(
            destination,
            known,
            hostname=hostname,
            connect_timeout=connect_timeout,
            timeout=timeout,
            data_timeout=data_timeout,
            refuses_ipv6=refuses_ipv6,
            for_email=for_email,
        )
        self.connections = Connections(
            self._opener.open,
            permits,
            known.count,
            most=destination.max_connections,
            patience=connect_timeout,
            idle=idle,
        )

    async def deliver(
        self, envelope: Envelope, *, may_send: Callable[[], bool], queue: str = ""
    ) -> Outcome:
        """Sends a message. Whatever the server does becomes part of the outcome.

        ``queue``: the message's; several may share the pool. ``may_send`` is asked right before the
        content goes out. Raises NotSent where it says no, and where the pool is closed meanwhile.
        Raises NoConnection where this machine lacks what a connection takes, and what
        :meth:`Destination.servers` raises. Cancelled, it closes the connection.
        """
        connections = self.connections
        try:
            connection = await connections.acquire()
        except ConnectFailed as failed:
            return _outcome_without_connection(envelope, failed)
        try:
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    outcome = await self._send(connection, envelope, may_send)
                    return _noted(outcome, connection, queue)
                except Again as again:
                    if feature := self._opener.learn(again, connection):
                        connections.forbid(feature, connection.workarounds)
                    if attempt == _ATTEMPTS or connections.closed or not again.again:
                        return _noted(Outcome(again.replies), connection, queue)
                    reason = again
                # What was refused may be about the connection, never a reason for another host.
                at = None if isinstance(reason, Ipv6Refused) else connection.server
                try:
                    connection = await connections.exchange(connection, at=at)
                except ConnectFailed as failed:
                    return _outcome_without_connection(envelope, failed)
                if isinstance(reason, PipeliningBroke):
                    connection.forbid("pipelining")
                elif isinstance(reason, Ipv6Refused) and _is_ipv6(connection):
                    # There is no other.
                    return _noted(Outcome(reason.replies), connection, queue)
        except BaseException:
            connection.abort("given up in the middle of a transaction")
            raise
        finally:
            connections.release(connection)
        raise AssertionError("the last attempt returns")

    async def _send(
        self, connection: Connection, envelope: Envelope, may_send: Callable[[], bool]
    ) -> Outcome:
        """One transaction. Raises as :func:`transact` does, and Ipv6Refused."""
        permit = connection.permit
        if permit is not None and not connection.lost:
            await permit.pace()
        try:
            outcome = await transact(connection, envelope, may_send)
        finally:
            if permit is not None and permit.used():
                connection.retired = True
        if connection.capabilities.pipelining and not connection.lost:
            connection.workarounds.pipelining_worked()
        if not connection.note:
            return outcome
        replies = outcome.replies.values()
        if _is_ipv6(connection) and replies and all(map(self._refuses_ipv6, replies)):
            raise Ipv6Refused(outcome.replies)
        if replies and all(map(is_soft, replies)):
            # Postfix' postscreen refuses all mail of a first session, and takes that of a second.
            connection.retired = True
        return outcome

    def crowded(self, reply: Reply) -> None:
        """The destination says that it has too many connections: fewer are opened for a while."""
        self.connections.crowded(reply)

    async def close(self) -> None:
        """Closes everything, within some seconds. A message that waits gets NotSent."""
        await self.connections.close()


def _is_ipv6(connection: Connection) -> bool:
    return connection.server is not None and connection.server.ipv6


def _noted(outcome: Outcome, connection: Connection, queue: str) -> Outcome:
    """With what is to be said of the way that the message went."""
    server = connection.server
    return replace(
        outcome,
        note=connection.note,
        server=server if server and server.address else None,
        tls=connection.tls,
        sessions=connection.sessions_for(queue),
    )


def _outcome_without_connection(envelope: Envelope, failed: ConnectFailed) -> Outcome:
    """The same reply for all recipients. Raises NoConnection where the fault is ours."""
    if failed.ours:
        raise NoConnection(str(failed)) from failed
    sessions = failed.sessions
    return Outcome(
        dict.fromkeys(envelope.recipients, failed.reply),
        note=failed.note,
        tls=sessions[-1].result if sessions else None,
        sessions=sessions,
    )
