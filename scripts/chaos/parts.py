"""The processes of the stage, each of which can be killed, paused, limited and started again."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Literal

from scripts.bench.processes import BenchError
from scripts.bench.processes import Stage as Processes
from scripts.chaos.history import (
    ProcessEnded,
    ProcessPaused,
    ProcessStarted,
    ProcessWoken,
    Recorder,
)

READY = 60.0  # s, until a process must be ready
Role = Literal["etcd", "api", "worker", "bounced"]


class Part:
    """One process, by its role and its number from 1. It can be started again any number of times.

    ``environment``, ``settings`` (Babygun's, by variable), ``flags`` (of the command line) and
    ``limits`` (soft ones, by resource.RLIMIT_…) count from the next start on. ``command`` and
    ``is_ready`` come from the stage.
    """

    def __init__(
        self,
        processes: Processes,
        recorder: Recorder,
        role: Role,
        number: int,
        *,
        command: Callable[[], list[str]],
        surroundings: Callable[[], Mapping[str, str]],
        is_ready: Callable[[], bool],
    ) -> None:
        self.role, self.number, self.name = role, number, f"{role} {number}"
        self._file = f"{role}-{number}"  # its log's name
        self.environment: dict[str, str] = {}
        self.settings: dict[str, str] = {}
        self.flags: list[str] = []
        self.limits: dict[int, int] = {}
        self.starts = 0
        self.paused = False
        self._processes, self._recorder = processes, recorder
        self._command, self._surroundings, self._is_ready = command, surroundings, is_ready
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs. A paused one does."""
        self.notice()
        return self._process is not None

    @property
    def pid(self) -> int:
        """Of the process that runs, else 0."""
        return self._process.pid if self._process is not None else 0

    def launch(self) -> None:
        """Starts it if it does not run, without waiting until it is ready."""
        if self.alive:
            return
        self._process = self._processes.start(
            self._file,
            [*self._command(), *self.flags],
            environment={**self._surroundings(), **self.settings, **self.environment},
        )
        self.starts += 1
        self.paused = False
        for which, soft in self.limits.items():
            self.limit(which, soft)
        self._recorder.add(
            ProcessStarted(self._recorder.now(), self.role, self.number, self._process.pid)
        )

    async def start(self, within: float = READY) -> None:
        """Starts it if it does not run; returns when it is ready. Raises BenchError if it isn't.

        One that ends at once is started again: a neighbour may not be there yet.
        """
        deadline = time.monotonic() + within
        while True:
            self.launch()
            with suppress(OSError):
                if await asyncio.to_thread(self._is_ready):
                    return
            if time.monotonic() > deadline:
                raise BenchError(f"{self.name} was not ready within {within:g} s:\n{self.words()}")
            await asyncio.sleep(0.1 if self.alive else 0.5)

    async def ready(self) -> bool:
        """Whether it answers that it is ready."""
        try:
            return await asyncio.to_thread(self._is_ready)
        except OSError:
            return False

    async def kill(self) -> None:
        """SIGKILL."""
        await self._end(signal.SIGKILL, 10.0)

    async def terminate(self, within: float = 30.0) -> bool:
        """SIGTERM; returns when it has ended. False if that took a SIGKILL after ``within`` s."""
        return await self._end(signal.SIGTERM, within)

    def pause(self) -> None:
        """SIGSTOP: connections stay, nothing answers. Returns when all its threads are stopped."""
        if self.alive and not self.paused:
            os.kill(self.pid, signal.SIGSTOP)
            os.waitid(os.P_PID, self.pid, os.WSTOPPED)
            self.paused = True
            self._recorder.add(
                ProcessPaused(self._recorder.now(), self.role, self.number, self.pid)
            )

    def resume(self) -> None:
        """SIGCONT, if it is paused."""
        if self.alive and self.paused:
            self.paused = False
            self._recorder.add(ProcessWoken(self._recorder.now(), self.role, self.number, self.pid))
            os.kill(self.pid, signal.SIGCONT)

    def limit(self, which: int, soft: int) -> Callable[[], None]:
        """Sets a soft limit (resource.RLIMIT_…) of the process that runs.

        What it returns puts the old limit back, if the same process still runs.
        """
        pid = self.pid
        old = resource.prlimit(pid, which)
        resource.prlimit(pid, which, (soft, old[1]))

        def undo() -> None:
            if self.alive and self.pid == pid:
                resource.prlimit(pid, which, old)

        return undo

    def notice(self) -> None:
        """Writes to the history that the process has ended, if it has."""
        process = self._process
        if process is None or (status := process.poll()) is None:
            return
        self._process = None
        self._processes.end(self._file)
        how = signal.Signals(-status).name if status < 0 else f"exit {status}"
        self._recorder.add(
            ProcessEnded(self._recorder.now(), self.role, self.number, process.pid, how)
        )

    def words(self) -> str:
        """The end of its log."""
        return self._processes.last_words(self._file)

    async def _end(self, how: signal.Signals, within: float) -> bool:
        process = self._process
        if process is None or not self.alive:
            return True
        process.send_signal(how)
        self.resume()
        in_time = True
        try:
            await asyncio.to_thread(process.wait, within)
        except subprocess.TimeoutExpired:
            in_time = False
            process.kill()
            await asyncio.to_thread(process.wait)
        self.notice()
        return in_time
