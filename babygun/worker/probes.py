"""The worker's small HTTP server, where ``worker_port`` is set: alive, ready, metrics.

It starts before the worker and ends after it, so that a draining worker can be watched to its end.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from babygun import __version__
from babygun.runtime.event_loop import watch_lag
from babygun.runtime.exposition import may_read, render
from babygun.runtime.listening import SMALL_SERVER, base_url, listen
from babygun.runtime.logs import get_logger
from babygun.runtime.tasks import cancel_all
from babygun.worker.worker import Worker

log = get_logger("worker")

_HEADERS = {"Server": "babygun", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_GRACE = 1.0  # s, for answers under way at the end


@asynccontextmanager
async def probed(worker: Worker) -> AsyncIterator[str]:
    """Answers while the block runs; yields the URL. Raises SettingsError if it can't listen."""
    settings = worker.store.settings
    app = web.Application()
    for path, handler in _handlers(worker).items():
        app.router.add_get(path, handler)
    app.on_response_prepare.append(_add_headers)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_GRACE, **SMALL_SERVER)
    await runner.setup()
    try:
        assert runner.server is not None  # after setup
        server = await listen(
            runner.server,
            settings.worker_host,
            settings.worker_port,
            setting="worker_port",
            zero="no server at all",
        )
        try:
            url = base_url(server, settings.worker_host)
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


def _handlers(worker: Worker) -> Mapping[str, Callable[[web.Request], Awaitable[web.Response]]]:
    token = worker.store.settings.metrics_token

    async def alive(request: web.Request) -> web.Response:
        return _json({"status": "ok", "version": __version__})

    async def ready(request: web.Request) -> web.Response:
        reasons, warnings = await readiness(worker)
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
        worker.show_state()  # no await until render(): the values must be of one moment
        body, content_type = render("worker", ",".join(request.headers.getall("Accept", ())))
        return web.Response(body=body, headers={"Content-Type": content_type})

    return {"/healthz": alive, "/readyz": ready, "/metrics": show_metrics}


async def readiness(worker: Worker) -> tuple[list[str], list[str]]:
    """Why this worker would not send an e-mail now, and warnings; a sentence each."""
    found = await worker.health.check()
    reasons, warnings = list(found.reasons), list(found.warnings)
    membership = worker.membership
    if worker.draining:
        reasons.append("this worker is stopping: it finishes what it has, and takes no more")
    elif membership.identity is None:
        reasons.append("this worker has not checked in yet")
    elif not membership.identity.trusted:
        reasons.append("this worker's lease can't be trusted: etcd has not renewed it in time")
    elif not membership.is_live:
        reasons.append("this worker does not know its slice of the jobs yet")
    elif membership.slice.empty:
        warnings.append("there are more workers than shards: this one has nothing to do")
    return reasons, warnings


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
