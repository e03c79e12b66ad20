"""Opens connections to one destination, and knows what its server does not manage."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from babygun.email.domains import ascii_domain
from babygun.routing.destination import Destination
from babygun.routing.server import Server
from babygun.runtime import tracing
from babygun.runtime.logs import get_logger
from babygun.smtp.again import Again, ChunkingFailed, PipeliningBroke
from babygun.smtp.connect_failed import connect_failed
from babygun.smtp.connection import Connection
from babygun.smtp.handshake import connect, load_tls_context
from babygun.smtp.workarounds import Extension, Feature, Workarounds

log = get_logger("smtp")


class Opener:
    """Times in seconds, as :class:`babygun.smtp.pool.SmtpPool` has them."""

    def __init__(
        self,
        destination: Destination,
        workarounds: Workarounds,
        *,
        hostname: str,
        connect_timeout: float,
        timeout: float,
        data_timeout: float,
    ) -> None:
        self._destination, self._workarounds = destination, workarounds
        self._hostname = ascii_domain(hostname)
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._data_timeout = data_timeout
        self._loop = asyncio.get_running_loop()
        self._context: ssl.SSLContext | None = None
        self._context_lock = asyncio.Lock()
        self._context_loaded = False

    async def open(self, on_lost: Callable[[Connection], None]) -> Connection:
        """A new connection, logged in. It does without what its server does not manage.

        Raises ConnectFailed. ``on_lost``: called when the server hangs up while it is idle.
        """
        server = await self._server()
        with tracing.child("smtp connect", "client") as span:
            span.set("server.address", server.host)
            span.set("server.port", server.port)
            connection = await connect(
                server,
                await self._tls_context(server),
                hostname=self._hostname,
                connect_timeout=self._connect_timeout,
                timeout=self._timeout,
                data_timeout=self._data_timeout,
                on_lost=on_lost,
                plain_because=self._workarounds.why_not("tls", self._loop.time()),
            )
        now = self._loop.time()
        if connection.plain_because and not self._workarounds.why_not("tls", now):
            self._avoid("tls", connection.plain_because)
        for feature in ("pipelining", "chunking"):
            if self._workarounds.why_not(feature, now):
                connection.forbid(feature)
        return connection

    async def _server(self) -> Server:
        async for server in self._destination.servers():
            return server
        raise connect_failed("connect", f"{self._destination.name} has no server")

    async def _tls_context(self, server: Server) -> ssl.SSLContext | None:
        """Loaded once, when it is first needed."""
        if not self._context_loaded:
            async with self._context_lock:
                if not self._context_loaded:
                    self._context = await load_tls_context(server)
                    self._context_loaded = True
        return self._context

    def pipelining_worked(self) -> None:
        """A transaction whose commands were sent together went well."""
        self._workarounds.pipelining_worked()

    def learn(self, again: Again) -> Extension | None:
        """What the server shows not to manage, so that no connection is to use it."""
        if isinstance(again, ChunkingFailed):
            self._avoid("chunking", "it refuses BDAT, which it offers")
            return "chunking"
        if isinstance(again, PipeliningBroke) and self._workarounds.pipelining_broke():
            self._avoid("pipelining", "it breaks when commands are sent together")
            return "pipelining"
        return None

    def _avoid(self, feature: Feature, why: str) -> None:
        now, queue = self._loop.time(), self._destination.name
        if not self._workarounds.why_not(feature, now):
            log.warning("feature switched off", queue=queue, feature=feature, reason=why)
        self._workarounds.avoid(feature, why, now)
