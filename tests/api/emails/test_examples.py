"""The examples of docs/examples, run as they are: each sends an e-mail once, though calls break."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from babygun.store import Store
from tests.support.api import RunningApi
from tests.support.paths import ROOT
from tests.support.tries import OK, finished

COMMANDS = {
    "send.py": [sys.executable],
    "send.mjs": ["node"],
    "send.php": ["php"],
    "send.go": ["go", "run"],
}
ADDRESS = "ann@example.org"


class Broken:
    """Between a client and the API.

    The first call that sends an e-mail is made, and gets no answer. The second one is refused with
    503. The first call that reads an e-mail has its try end.
    """

    def __init__(self, api: RunningApi, store: Store) -> None:
        self._api, self._store = api, store
        self.keys: list[str | None] = []
        self.ids: set[str] = set()
        self._ending: asyncio.Task[None] | None = None

    async def handle(self, request: web.Request) -> web.Response:
        sends = (request.method, request.path) == ("POST", "/emails")
        if sends:
            self.keys.append(request.headers.get("Idempotency-Key"))
            if len(self.keys) == 2:
                return web.json_response({"type": "busy"}, status=503, headers={"Retry-After": "0"})
        elif request.path.startswith("/emails/") and self._ending is None:
            email_id = request.path.rpartition("/")[2]
            ended = finished(self._store, email_id, {ADDRESS: OK})
            self._ending = asyncio.create_task(ended)
        kept = {
            name: value
            for name, value in request.headers.items()
            if name in ("Authorization", "Content-Type", "Idempotency-Key")
        }
        answer = await self._api.call(
            request.method, str(request.rel_url), headers=kept, data=await request.read(), token=""
        )
        if sends and answer.status == 202:
            self.ids.add(answer.json["id"])
            if len(self.keys) == 1:
                assert request.transport is not None
                request.transport.abort()
        return web.Response(text=answer.text, status=answer.status, content_type="application/json")


@asynccontextmanager
async def broken(api: RunningApi, store: Store) -> AsyncIterator[tuple[Broken, str]]:
    between = Broken(api, store)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", between.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield between, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _run(example: str, url: str, client: tuple[str, str], to: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *COMMANDS[example],
        str(ROOT / "docs/examples" / example),
        to,
        env={
            **os.environ,
            "CGO_ENABLED": "0",  # less to compile
            "BABYGUN_API_URL": url,
            "BABYGUN_CLIENT_ID": client[0],
            "BABYGUN_CLIENT_SECRET": client[1],
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, error = await process.communicate()
    return process.returncode or 0, out.decode(), error.decode()


@pytest.mark.timeout(600)  # Go compiles its library once per machine
@pytest.mark.parametrize("example", COMMANDS)
async def test_example_sends_an_email_once_and_says_what_became_of_it(
    api: RunningApi, store: Store, example: str
) -> None:
    if not shutil.which(COMMANDS[example][0]):
        pytest.skip(f"{example} needs {COMMANDS[example][0]}")
    client, secret = await api.client()
    async with broken(api, store) as (between, url):
        status, out, error = await _run(example, url, (client.id, secret), ADDRESS)
        assert (status, error) == (0, ""), error
        assert out.split()[:2] == [ADDRESS, "delivered"]
        assert len(between.keys) == 3 and len(set(between.keys)) == 1
        assert len(between.ids) == 1, "it is one e-mail"
        status, out, error = await _run(example, url, (client.id, secret), "ann")
        assert status == 1 and "urn:babygun:problem:invalid-request: The address has no @." in error


def test_every_example_is_run() -> None:
    assert {path.name for path in (ROOT / "docs/examples").iterdir()} == set(COMMANDS)
