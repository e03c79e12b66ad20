"""A supervisor of several processes as its user sees it: its output and its end."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from babygun.runtime.settings import Settings
from tests.support.rig import environment


def is_gone(pid: int) -> bool:
    """Whether a process has ended, even if nobody has taken its status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


class Supervised:
    """``said``: the lines that all its processes have printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[str] = []
        self._more = asyncio.Condition()
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        assert self.process.stdout
        async for line in self.process.stdout:
            async with self._more:
                self.said.append(line.decode().rstrip())
                self._more.notify_all()
        async with self._more:
            self._more.notify_all()

    async def until(self, words: str, count: int = 1) -> str:
        """The ``count``-th line with these words, once it is printed."""
        async with asyncio.timeout(20), self._more:
            await self._more.wait_for(
                lambda: len(self.lines(words)) >= count or self._listening.done()
            )
            return self.lines(words)[count - 1]

    def lines(self, words: str) -> list[str]:
        return [line for line in self.said if words in line]

    async def up(self) -> list[int]:
        """The process ids, once all are up."""
        pids = (await self.until(" pids=")).partition(" pids=")[2]
        return [int(pid) for pid in re.findall(r"\d+", pids)]

    async def ended(self) -> int:
        """Its exit status, once all that it started has closed its output, so has ended."""
        async with asyncio.timeout(20):
            status = await self.process.wait()
            await self._listening
        return status

    async def cleanup(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.ended()
        assert not self.lines("Traceback"), "\n".join(self.said)


@asynccontextmanager
async def supervised(*command: str, env: dict[str, str] | None = None) -> AsyncIterator[Supervised]:
    process = await asyncio.create_subprocess_exec(
        *command,
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    run = Supervised(process)
    try:
        yield run
    finally:
        await run.cleanup()


@asynccontextmanager
async def processes(settings: Settings, *words: str) -> AsyncIterator[Supervised]:
    """``babygun …`` with these settings. It need not start: a test may want it to fail."""
    async with supervised(
        sys.executable, "-m", "babygun", *words, env=environment(settings)
    ) as run:
        yield run
