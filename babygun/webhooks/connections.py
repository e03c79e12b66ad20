"""The connections to the endpoint of one webhook: opened, kept while they are idle, closed."""

from __future__ import annotations

import asyncio

from babygun.runtime.logs import get_logger
from babygun.webhooks.connection import Answered, Connection, connect
from babygun.webhooks.endpoint import Endpoint, Unreachable, addresses
from babygun.webhooks.shared import Shared

log = get_logger("webhooks")

_IDLE = 30.0  # s, that a connection without a request stays open


class Connections:
    """Those that have a request under way are with whom they were given to.

    ``answered``: called by each connection with the answer to its request.
    """

    def __init__(self, shared: Shared, webhook_id: str, answered: Answered) -> None:
        self._shared, self._webhook_id, self._answered = shared, webhook_id, answered
        self._loop = asyncio.get_running_loop()
        self._idle: list[Connection] = []  # the one that is idle for the longest time first

    async def open(self, endpoint: Endpoint, seconds: float) -> Connection:
        """Makes a connection within so many seconds. Raises Unreachable."""
        networks = self._shared.store.settings.webhook_allow_networks
        try:
            async with asyncio.timeout(seconds):
                found = await addresses(endpoint, self._shared.resolver, networks)
                return await connect(endpoint, found, self._new, seconds)
        except Unreachable:
            raise
        except TimeoutError:
            raise Unreachable(f"no connection within {seconds:g} s") from None
        except Exception as error:  # our own fault: no URL of a client may end the worker
            log.error("webhook not reached", exc=error, webhook_id=self._webhook_id)
            raise Unreachable(f"internal error: {type(error).__name__}") from error

    def take_idle(self) -> Connection | None:
        """The connection that was used last, if one is idle."""
        return self._idle.pop() if self._idle else None

    def keep(self, connection: Connection) -> None:
        """It has no request under way, and can be used again."""
        connection.idle_since = self._loop.time()
        self._idle.append(connection)

    def close_unused(self) -> None:
        """Closes those that were idle for long."""
        now = self._loop.time()
        while self._idle and now >= self._idle[0].idle_since + _IDLE:
            self._idle.pop(0).close()

    def close_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _new(self) -> Connection:
        return Connection(self._answered, self._closed)

    def _closed(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
