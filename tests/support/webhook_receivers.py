"""The receivers of docs/webhooks.md, run as they stand there."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.support.etcd_server import free_ports
from tests.support.needs import missing
from tests.support.paths import ROOT
from tests.support.processes import PATIENCE

PAGE = (ROOT / "docs/webhooks.md").read_text()
RECEIVERS = dict(re.findall(r"```(?:python|js)\n(?:#|//) (receiver\S*)\n(.*?)```", PAGE, re.DOTALL))


class Receiver:
    """A receiver of the page, in a process."""

    def __init__(self, process: Process, url: str, session: aiohttp.ClientSession) -> None:
        self._process, self.url, self._session = process, url, session

    async def post(self, body: bytes, headers: dict[str, str]) -> int:
        """The status that it answers."""
        async with self._session.post(self.url, data=body, headers=headers) as answer:
            return answer.status

    async def line(self) -> list[str]:
        """The words of the next line that it prints."""
        assert self._process.stdout
        return (await self._process.stdout.readline()).decode().split()


@asynccontextmanager
async def receiving(name: str, folder: Path, secret: str) -> AsyncIterator[Receiver]:
    """Runs one of ``RECEIVERS`` on a free port."""
    program = sys.executable if name.endswith(".py") else shutil.which("node")
    if program is None:
        missing("there is no node")
    [port] = free_ports(1)
    (folder / name).write_text(RECEIVERS[name].replace("8000", str(port)))
    process = await asyncio.create_subprocess_exec(
        program, name, cwd=folder, env={**os.environ, "WEBHOOK_SECRET": secret}, stdout=PIPE
    )
    try:
        async with aiohttp.ClientSession() as session:
            receiver = Receiver(process, f"http://127.0.0.1:{port}/mail", session)
            async with asyncio.timeout(PATIENCE):
                await _until_it_listens(receiver)
            yield receiver
    finally:
        process.kill()
        await process.communicate()  # up to the end of its output: that closes the pipe


async def _until_it_listens(receiver: Receiver) -> None:
    while True:
        try:
            await receiver.post(b"", {"webhook-signature": "", "webhook-timestamp": "0"})
        except aiohttp.ClientError:
            await asyncio.sleep(0.02)
        else:
            return
