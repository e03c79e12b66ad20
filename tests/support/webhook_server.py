"""A receiver of webhooks over real sockets, which answers as a test says."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiohttp import web
from standardwebhooks.webhooks import Webhook

from tests.support.processes import PATIENCE


class Request(NamedTuple):
    """What came. ``event``: the body, decoded."""

    event_id: str
    headers: Mapping[str, str]
    event: Any


Answer = Callable[[Request], Awaitable[web.Response]]


async def ok(request: Request) -> web.Response:
    return web.Response(text="thanks")


class WebhookServer:
    """``secret``: by which each request is verified, once it is set. ``url``: where it listens.

    ``answer``: replace it. ``seen``: the requests in their order; ``most``: of them at once.
    """

    def __init__(self) -> None:
        self.secret, self.url = "", ""
        self.answer: Answer = ok
        self.seen: list[Request] = []
        self.now = self.most = self.connections = 0
        self._news = asyncio.Event()

    @property
    def ids(self) -> list[str]:
        return [request.event_id for request in self.seen]

    async def until(self, holds: Callable[[], bool], within: float = PATIENCE) -> None:
        """Waits until it holds; asked after each request."""
        async with asyncio.timeout(within):
            while not holds():
                self._news.clear()
                await self._news.wait()

    async def got(self, count: int, within: float = PATIENCE) -> list[Request]:
        """The requests, once there are so many."""
        await self.until(lambda: len(self.seen) >= count, within)
        return self.seen

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        if self.secret:
            Webhook(self.secret).verify(body, headers)
        seen = Request(headers.get("webhook-id", ""), headers, json.loads(body))
        self.seen.append(seen)
        self.now += 1
        self.most = max(self.most, self.now)
        self._news.set()
        try:
            return await self.answer(seen)
        finally:
            self.now -= 1


@asynccontextmanager
async def webhook_server(
    *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[WebhookServer]:
    server = WebhookServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, host, 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    server.url = f"{'https' if tls else 'http'}://{host}:{port}/hook"
    try:
        yield server
    finally:
        await runner.cleanup()
