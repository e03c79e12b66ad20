"""Runs the receivers of docs/webhooks.md, as they stand there.

What they get is signed by the official library, whose own receiver is one of them.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from standardwebhooks import Webhook

from babygun.api.webhooks.event_examples import examples
from babygun.email.model import as_json
from tests.support.needs import missing
from tests.support.paths import ROOT

PAGE = (ROOT / "docs/webhooks.md").read_text()
RECEIVERS = dict(re.findall(r"```(?:python|js)\n(?:#|//) (receiver\S*)\n(.*?)```", PAGE, re.DOTALL))
SECRET, BEFORE = ("whsec_" + letter * 43 + "=" for letter in ("A", "B"))


def test_page_has_receivers_with_and_without_a_library() -> None:
    assert set(RECEIVERS) == {"receiver.py", "receiver_alone.py", "receiver.mjs"}


class Receiver:
    """A receiver of the page, in a process."""

    def __init__(self, process: Process, url: str, session: aiohttp.ClientSession) -> None:
        self._process, self._url, self._session = process, url, session

    async def post(self, body: bytes, headers: dict[str, str]) -> int:
        """The status that it answers."""
        async with self._session.post(self._url, data=body, headers=headers) as answer:
            return answer.status

    async def line(self) -> list[str]:
        """The words of the next line that it prints."""
        assert self._process.stdout
        return (await self._process.stdout.readline()).decode().split()


@asynccontextmanager
async def running(name: str, folder: Path) -> AsyncIterator[Receiver]:
    program = sys.executable if name.endswith(".py") else shutil.which("node")
    if program is None:
        missing("there is no node")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / name).write_text(RECEIVERS[name].replace("8000", str(port)))
    process = await asyncio.create_subprocess_exec(
        program, name, cwd=folder, env={**os.environ, "WEBHOOK_SECRET": SECRET}, stdout=PIPE
    )
    try:
        async with aiohttp.ClientSession() as session:
            receiver = Receiver(process, f"http://127.0.0.1:{port}/mail", session)
            async with asyncio.timeout(30):
                await _until_it_listens(receiver)
            yield receiver
    finally:
        process.kill()
        await process.wait()


async def _until_it_listens(receiver: Receiver) -> None:
    while True:
        try:
            await receiver.post(b"", {"webhook-signature": "", "webhook-timestamp": "0"})
        except aiohttp.ClientError:
            await asyncio.sleep(0.02)
        else:
            return


def signed(event_id: str, body: bytes, *secrets: str, ago: float = 0) -> dict[str, str]:
    """The headers of a request."""
    at = datetime.fromtimestamp(int(time.time() - ago), UTC)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(
            Webhook(secret).sign(event_id, at, body.decode()) for secret in secrets
        ),
        "Content-Type": "application/json",
    }


@pytest.mark.parametrize("name", sorted(RECEIVERS))
async def test_receiver_of_the_page_takes_our_events_and_refuses_others(
    name: str, tmp_path: Path
) -> None:
    async with running(name, tmp_path) as receiver:
        for type, event in examples().items():
            body, event_id = as_json(event), event.data.event_id
            for secrets in ((SECRET,), (SECRET, BEFORE), (BEFORE, SECRET)):
                assert await receiver.post(body, signed(event_id, body, *secrets)) == 204
                assert await receiver.line() == [type, event_id]
            forged = body.replace(b'"2026', b'"2027')
            headers = signed(event_id, body, SECRET)
            assert await receiver.post(forged, headers) == 400
            assert await receiver.post(body, headers | {"webhook-id": "other"}) == 400
            assert await receiver.post(body, signed(event_id, body, BEFORE)) == 400
            assert await receiver.post(body, signed(event_id, body, SECRET, ago=600)) == 400
