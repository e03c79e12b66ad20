"""The webhook of a run: it gets every event, verifies its signature, and records it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from typing import Literal

from aiohttp import web

from babygun.runtime.tasks import cancel_all
from scripts.chaos.history import Notified, Recorder

# What it does with a request. ``cut``: it has the event, and breaks the connection.
Mode = Literal["takes", "fails", "stalls", "cuts"]
SETTINGS = {
    "BABYGUN_WEBHOOK_ALLOW_HTTP": "yes",
    "BABYGUN_WEBHOOK_ALLOW_NETWORKS": "127.0.0.0/8",
    "BABYGUN_WEBHOOK_TIMEOUT": "3s",
    "BABYGUN_WEBHOOK_RETRY_INTERVALS": "500ms,1s,2s,4s,8s,15s,30s,30s,30s",
}


class WebhookReceiver:
    """An HTTP server on a port of its own. ``mode``: what it does from now on."""

    def __init__(self, recorder: Recorder, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self.mode: Mode = "takes"
        self.secret = ""  # once the webhook is made
        self.events = 0  # taken
        self._recorder, self._port = recorder, port
        self._runner: web.AppRunner | None = None
        self._stalled: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listens, unless it does."""
        if self._runner is not None:
            return
        app = web.Application(client_max_size=4 << 20)
        app.router.add_post("/", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def stop(self) -> None:
        """Stops listening, and breaks all connections."""
        runner, self._runner = self._runner, None
        self.normal()
        if runner is not None:
            await runner.cleanup()

    def normal(self) -> None:
        """Takes events again; what was stalled is answered no more."""
        self.mode = "takes"
        for task in self._stalled:
            task.cancel()

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        mode = self.mode
        if mode == "stalls":
            await self._stall()
        status = 503 if mode == "fails" else 204
        if not self._is_signed(request, body):
            status = 401
        self._record(request, body, 0 if mode in ("stalls", "cuts") else status)
        if mode in ("stalls", "cuts") and request.transport is not None:
            request.transport.abort()
        return web.Response(status=status)

    async def _stall(self) -> None:
        task = asyncio.create_task(asyncio.sleep(60.0))
        self._stalled.add(task)
        try:
            await asyncio.wait([task])
        finally:
            await cancel_all(task)
            self._stalled.discard(task)

    def _is_signed(self, request: web.Request, body: bytes) -> bool:
        """By the convention's own words, not by the product's code."""
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        head = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}."
        digest = hmac.new(key, head.encode() + body, hashlib.sha256).digest()
        wanted = f"v1,{base64.b64encode(digest).decode()}"
        return wanted in request.headers["webhook-signature"].split()

    def _record(self, request: web.Request, body: bytes, status: int) -> None:
        event = json.loads(body)
        data = event["data"]
        self.events += status == 204
        self._recorder.add(
            Notified(
                self._recorder.now(),
                request.headers["webhook-id"],
                event["type"],
                data.get("email_id", ""),
                data["sequence"],
                tuple(recipient["email"] for recipient in data["recipients"]),
                status,
            )
        )
