"""The small HTTP server of a process that serves no API: alive, ready, metrics.

It starts before the work and ends after it, so that a stopping process can be watched to its end.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from aiohttp import web

from babygun import __version__
from babygun.runtime.event_loop import watch_lag
from babygun.runtime.exposition import may_read, render
from babygun.runtime.listening import SMALL_SERVER, base_url, listen
from babygun.runtime.logs import get_logger
from babygun.runtime.metric_types import Role
from babygun.runtime.tasks import cancel_all

log = get_logger("probes")

_HEADERS = {"Server": "babygun", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_GRACE = 1.0  # s, for answers under way at the end

_Handler = Callable[[web.Request], Awaitable[web.Response]]


class Probed(Protocol):
    """A process that can be asked how it is."""

    async def readiness(self) -> tuple[list[str], list[str]]:
        """Why it can't do its work now, and warnings; a sentence each."""

    def show_state(self) -> None:
        """Puts the present state into the metrics."""


@asynccontextmanager
async def probes(
    role: Role, process: Probed, host: str, port: int, *, setting: str, metrics_token: str
) -> AsyncIterator[str]:
    """Answers while the block runs; yields the URL.

    ``setting``: that of the port. Raises SettingsError if it can't listen.
    """
    app = web.Application()
    for path, handler in _handlers(role, process, metrics_token).items():
        app.router.add_get(path, handler)
    app.on_response_prepare.append(_add_headers)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_GRACE, **SMALL_SERVER)
    await runner.setup()
    try:
        assert runner.server is not None  # after setup
        server = await listen(runner.server, host, port, setting=setting, zero="no server at all")
        try:
            url = base_url(server, host)
            log.info("listening", url=url)
            watching = asyncio.create_task(watch_lag(), name="event loop")
            try:
                yield url
            finally:
                await cancel_all(watching)
        finally:
            server.close()
    finally:
        await runner.cleanup()


def _handlers(role: Role, process: Probed, token: str) -> Mapping[str, _Handler]:
    async def alive(request: web.Request) -> web.Response:
        return _json({"status": "ok", "version": __version__})

    async def ready(request: web.Request) -> web.Response:
        reasons, warnings = await process.readiness()
        return _json(
            {"ready": not reasons, "reasons": reasons, "warnings": warnings},
            status=503 if reasons else 200,
        )

    async def show_metrics(request: web.Request) -> web.Response:
        if not may_read(request.headers.get("Authorization"), token):
            detail = "Send the setting metrics_token as Authorization: Bearer <it>."
            return _json(
                {"detail": detail},
                status=401,
                headers={"WWW-Authenticate": 'Bearer realm="babygun metrics"'},
            )
        process.show_state()  # no await until render(): the values must be of one moment
        body, content_type = render(role, ",".join(request.headers.getall("Accept", ())))
        return web.Response(body=body, headers={"Content-Type": content_type})

    return {"/healthz": alive, "/readyz": ready, "/metrics": show_metrics}


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


def _json(
    value: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(
        body=json.dumps(value).encode(),
        status=status,
        content_type="application/json",
        headers=headers,
    )
