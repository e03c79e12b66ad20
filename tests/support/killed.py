"""Processes that are killed at random, and started again, until a test calms them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from random import Random
from signal import SIGKILL

from babygun.runtime.settings import Settings
from tests.support.processes import Process, start_babygun

_is_error = re.compile(r"\S+ \S+ error ").match
Up = Callable[[Process], Awaitable[object]]


class Killed:
    """One place for a process, which ``words`` start. ``up`` waits until it works.

    ``lives``: the shortest and the longest time in seconds that it works before SIGKILL. Some are
    killed while they start.
    """

    def __init__(
        self, settings: Settings, *words: str, up: Up, random: Random, lives: tuple[float, float]
    ) -> None:
        self._settings, self._words, self._up = settings, words, up
        self._random, self._lives = random, lives
        self._calm = asyncio.Event()
        self.kills = 0
        self.process: Process | None = None

    async def keep(self) -> None:
        """Starts and kills, until :meth:`calm`; then it kills a last time.

        Fails if a process ends by itself, or logs an error.
        """
        while not self._calm.is_set():
            process = self.process = Process(await start_babygun(self._settings, *self._words))
            try:
                if self._random.random() < 0.9:
                    await self._up(process)
                await self._rest(self._random.uniform(*self._lives))
            finally:
                process.kill()
                status = await process.ended()
            assert status == -SIGKILL, process.log
            _check_log(process)
            self.kills += 1
        self.process = None

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._calm.wait()
        except TimeoutError:
            pass

    def calm(self) -> None:
        """What is started from now on is not killed."""
        self._calm.set()

    async def start(self) -> Process:
        """Starts a process that stays, once :meth:`keep` has ended."""
        process = self.process = Process(await start_babygun(self._settings, *self._words))
        await self._up(process)
        return process

    async def end(self) -> None:
        """SIGTERM; fails if it does not end well."""
        if self.process is not None:
            try:
                assert await self.process.terminate() == 0, self.process.log
                _check_log(self.process)
            finally:
                await self.process.end()
                self.process = None


def _check_log(process: Process) -> None:
    errors = [line for line in process.said if _is_error(line) or "Traceback" in line]
    assert not errors, errors
