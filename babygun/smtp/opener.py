"""Opens connections to one destination: to its first server that takes one.

A mail domain has several hosts, each with several addresses. They are tried in their order, within
one try of the message. Servers that failed a moment ago come last (:mod:`reachability`). What a
server does not manage is left out (:mod:`workarounds`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from babygun.email.domains import ascii_domain
from babygun.email.reasons import quoted_to_others
from babygun.errors import OutOfResources
from babygun.routing.destination import Destination
from babygun.routing.server import Server
from babygun.runtime import tracing
from babygun.runtime.logs import get_logger
from babygun.smtp.again import Again, ChunkingFailed, Ipv6Refused, PipeliningBroke
from babygun.smtp.connect import connect
from babygun.smtp.connect_failed import ConnectFailed, all_failed, connect_failed
from babygun.smtp.connection import Connection
from babygun.smtp.handshake import Times
from babygun.smtp.known_servers import KnownServers
from babygun.smtp.replies import Reply
from babygun.smtp.tls_checks import TlsSession
from babygun.smtp.workarounds import REMEMBERED, REMEMBERED_TLS, Extension, Feature

log = get_logger("smtp")

ALL_SERVERS = 4  # times connect_timeout: after that, no further server is tried
# In one try. The owner of a domain may name thousands, also those of others.
MOST_SERVERS = 25


class Opener:
    """Times in seconds, as :class:`babygun.smtp.pool.SmtpPool` has them."""

    def __init__(
        self,
        destination: Destination,
        known: KnownServers,
        *,
        hostname: str,
        connect_timeout: float,
        timeout: float,
        data_timeout: float,
        refuses_ipv6: Callable[[Reply], bool],
        for_email: str,
    ) -> None:
        self._destination, self._known, self._for_email = destination, known, for_email
        self._refuses_ipv6 = refuses_ipv6
        self._hostname = ascii_domain(hostname)
        self._times = Times(connect_timeout, timeout, data_timeout)
        self._loop = asyncio.get_running_loop()

    async def open(
        self, on_lost: Callable[[Connection], None], first: Server | None = None
    ) -> Connection:
        """A new connection, logged in. It does without what its server does not manage.

        ``on_lost``: called once, when it is gone. ``first``: the server to try first. Raises
        ConnectFailed if no server takes one; also what :meth:`Destination.servers` raises.
        """
        if (relay := self._destination.server) is not None:
            return await self._open(relay, self._times, on_lost)
        try:
            return await self._open_some(on_lost, first)
        except OutOfResources as error:  # DNS can't be asked
            failed = connect_failed("connect", str(error))
            failed.ours = True
            raise failed from error

    async def _open_some(
        self, on_lost: Callable[[Connection], None], first: Server | None
    ) -> Connection:
        """A connection to the first server that takes one. Raises ConnectFailed."""
        give_up_at = self._loop.time() + ALL_SERVERS * self._times.connect
        failures: list[tuple[Server, ConnectFailed]] = []
        async with aclosing(self._in_turn(first)) as servers:
            async for server in servers:
                left = give_up_at - self._loop.time()
                if left <= 0 or len(failures) >= MOST_SERVERS:
                    break
                try:
                    times = self._times._replace(connect=min(self._times.connect, left))
                    connection = await self._open(server, times, on_lost)
                except ConnectFailed as failed:
                    if failed.ours:  # the next one would fail the same
                        raise
                    failures.append((server, failed))
                    self._failed(server, failed)
                else:
                    self._known.reachability.worked(server)
                    before = (each for _, failed in failures for each in failed.sessions)
                    connection.sessions = (*before, *connection.sessions)
                    return connection
        raise all_failed(failures)

    async def _in_turn(self, first: Server | None) -> AsyncGenerator[Server, None]:
        """The servers, those that are not expected to work after the others."""
        last: list[Server] = []
        instead: list[Server] = []
        tried = False
        site = self._destination.site.name
        if first is not None:
            tried = True
            yield first
        async with aclosing(self._destination.servers(for_email=self._for_email)) as servers:
            async for server in servers:
                if server == first:
                    continue
                turn = self._known.reachability.turn_of(server, site, self._loop.time())
                if turn == "now":
                    tried = True
                    yield server
                else:
                    (last if turn == "last" else instead).append(server)
        for server in last or (() if tried else instead):
            yield server

    def _failed(self, server: Server, failed: ConnectFailed) -> None:
        reply = failed.reply
        if server.ipv6 and self._refuses_ipv6(reply):
            self._refused_ipv6(server, reply)
        elif failed.violation is not None and server.policy.kind != "none":
            pass  # one domain's policy says nothing of others' mail to the host
        elif reply.code is None or reply.code >= 500:
            self._known.reachability.failed(server, failed.number, self._loop.time())

    async def _open(
        self, server: Server, times: Times, on_lost: Callable[[Connection], None]
    ) -> Connection:
        """A connection to one server. Raises ConnectFailed."""
        workarounds, now = self._known.workarounds.of(server.endpoint), self._loop.time()
        violated = workarounds.violation_of(server.policy, now) if server.policy.testing else None
        with tracing.child("smtp connect", "client") as span:
            span.set("server.address", server.host)
            span.set("server.port", server.port)
            if server.address:
                span.set("network.peer.address", server.address)
            connection = await connect(
                server,
                self._known.tls_contexts,
                hostname=self._hostname,
                times=times,
                on_lost=on_lost,
                plain_because=workarounds.why_not("tls", now),
                violated=violated,
            )
        connection.workarounds = workarounds
        why = connection.violation.text if connection.violation else connection.plain_because
        connection.sessions = (TlsSession(server, connection.tls, why),)
        now = self._loop.time()
        if connection.violation and not (violated or server.policy.violation):
            workarounds.violates(server.policy, connection.violation, now)
        said = [server.endpoint] if server.address else []
        if connection.plain_because:
            self._avoid(connection, "tls", connection.plain_because)
            said.append(f"sent in plain text, since TLS failed: {connection.plain_because}")
        connection.note = ", ".join(said)
        for feature in ("pipelining", "chunking"):
            if workarounds.why_not(feature, now):
                connection.forbid(feature)
        return connection

    def learn(self, again: Again, connection: Connection) -> Extension | None:
        """What the server shows not to manage, so that no connection to it is to use it."""
        if isinstance(again, ChunkingFailed):
            self._avoid(connection, "chunking", "it refuses BDAT, which it offers")
            return "chunking"
        if isinstance(again, PipeliningBroke) and connection.workarounds.pipelining_broke():
            self._avoid(connection, "pipelining", "it breaks when commands are sent together")
            return "pipelining"
        if isinstance(again, Ipv6Refused) and connection.server is not None:
            self._refused_ipv6(connection.server, next(iter(again.replies.values())))
        return None

    def _refused_ipv6(self, server: Server, reply: Reply) -> None:
        site = self._destination.site.name
        if self._known.reachability.refused_ipv6(site, self._loop.time()):
            log.error(
                "sending address refused",
                site=site,
                server=server.endpoint,
                source=server.source,
                code=reply.code,
                text=quoted_to_others(reply.text, 200),
            )

    def _avoid(self, connection: Connection, feature: Feature, why: str) -> None:
        now, server, workarounds = self._loop.time(), connection.server, connection.workarounds
        assert server is not None
        if workarounds.why_not(feature, now):
            return
        log.warning(
            "feature switched off",
            queue=self._destination.site.name,
            server=server.endpoint,
            feature=feature,
            reason=quoted_to_others(why, 300),
        )
        for_long = feature == "tls" and connection.plain_for_long and server.address
        lasts = REMEMBERED_TLS if for_long else REMEMBERED
        workarounds.avoid(feature, why, now, remembered=lasts)
