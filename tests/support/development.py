"""``babygun dev`` as a person runs it: in a folder of its own, stopped with Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from babygun.runtime.processes.interpreter import python_command, python_environment
from tests.support.processes import Process, start

PORTS = ("--port", "0", "--smtp-port", "0", "--etcd-port", "0")


def environment(**more: str) -> dict[str, str]:
    """The variables of the test run, without Babygun's settings."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("BABYGUN_") or name == "BABYGUN_ETCD_BIN"
    }
    return python_environment({**clean, "PYTHONWARNINGS": "default", **more})


class Dev:
    """``babygun dev`` in a folder. ``run``: its latest process."""

    run: Process

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def start(self, *arguments: str, **variables: str) -> None:
        """Starts it with these arguments, or on free ports."""
        command = (*python_command("babygun"), "dev", *(arguments or PORTS))
        self.run = Process(await start(*command, env=environment(**variables), cwd=self.folder))

    @property
    def lines(self) -> list[str]:
        """What it has printed so far."""
        return self.run.said

    async def until(self, words: str) -> None:
        """Waits for a line that contains ``words``."""
        await self.run.until(words)

    async def running(self) -> dict[str, Any]:
        """Its state, once all is up."""
        await self.until("Ctrl-C stops everything")
        return self.state()

    async def paste(self, script: str) -> str:
        """What a shell in its folder prints for these lines, none of which may fail."""
        shell = await asyncio.create_subprocess_exec(
            "sh",
            "-eu",
            cwd=self.folder,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            out, err = await shell.communicate(script.encode())
        assert shell.returncode == 0, err.decode()
        return out.decode()

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.folder / ".babygun" / "dev.json").read_text())
        return state

    async def refused(self) -> int:
        """Its exit status, once it has ended by itself."""
        return await self.run.ended()

    async def interrupt(self) -> int:
        """Ctrl-C; returns its exit status."""
        self.run.process.send_signal(signal.SIGINT)
        return await self.run.ended()


@asynccontextmanager
async def dev_in(folder: Path) -> AsyncIterator[Dev]:
    """``babygun dev``, not started yet. It gets Ctrl-C at the end of the block."""
    dev = Dev(folder)
    yield dev
    if dev.run.process.returncode is None:
        async with asyncio.timeout(40):
            await dev.interrupt()
