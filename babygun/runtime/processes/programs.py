"""Processes that are programs, started by their command lines, with their output line by line.

Each is in a session of its own, so that a terminal's Ctrl-C reaches the supervisor alone. What a
program has started is ended with it. If the supervisor is killed, :mod:`.guard` ends them.
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from babygun.runtime.processes.guard import GRACE, signal_group
from babygun.runtime.processes.interpreter import python_command, python_environment
from babygun.runtime.processes.supervisor import Component, StartFailed

_POLL_SECONDS = 0.05  # between two calls of `ready`
_READY_SECONDS = 5.0  # the longest that one call of `ready` may take
_LAST_LINES = 12  # of the output, kept for an error message
_MAX_LINE = 1 << 20  # bytes; a longer line is cut


@dataclass(frozen=True, kw_only=True)
class Program(Component):
    """A program to keep running."""

    command: Sequence[str]
    environment: Mapping[str, str]
    ready: Callable[[int], Awaitable[bool]]  # takes the process id; an exception means "not yet"
    output: Callable[[str], None]  # takes each line of its output
    readable: Callable[[str], str] = str  # a line for an error message; empty: leave it out
    start_within: float | None = 60.0


class Programs:
    """Launches programs, with a guard beside them.

    ``inherit``: file descriptors that the guard keeps open until no program is left.
    ``guard_grace``: seconds from SIGTERM to SIGKILL when the guard ends the programs of a rank.
    """

    def __init__(self, *, inherit: Sequence[int] = (), guard_grace: float = GRACE) -> None:
        self._inherit, self._guard_grace = inherit, guard_grace
        self._guard: asyncio.Task[asyncio.subprocess.Process] | None = None

    async def launch(self, program: Program) -> RunningProgram:
        if self._guard is None:
            self._guard = asyncio.create_task(self._start_guard())
        guard = await self._guard
        try:
            process = await asyncio.create_subprocess_exec(
                *program.command,
                env=program.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            reason = f"can't be started: {error.strerror or error}"
            raise StartFailed(program, reason) from None
        return RunningProgram(program, process, guard)

    async def close(self) -> None:
        if self._guard:
            guard = await self._guard
            assert guard.stdin
            guard.stdin.close()
            await guard.wait()

    async def _start_guard(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *python_command("babygun.runtime.processes.guard", str(self._guard_grace)),
            env=python_environment(),
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,
            pass_fds=self._inherit,
        )


class RunningProgram:
    def __init__(
        self,
        program: Program,
        process: asyncio.subprocess.Process,
        guard: asyncio.subprocess.Process,
    ) -> None:
        self._program, self._process, self._guard = program, process, guard
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self.pid = process.pid
        self._tell_guard(f"+ {program.rank} {self.pid}")
        self.ended: asyncio.Future[int] = asyncio.create_task(
            self._until_end(), name=f"run {program.name}"
        )

    async def up(self) -> None:
        while True:
            with suppress(Exception):
                async with asyncio.timeout(_READY_SECONDS):
                    if await self._program.ready(self.pid):
                        return
            await asyncio.sleep(_POLL_SECONDS)

    def signal(self, number: int) -> None:
        if self._process.returncode is None:
            signal_group(self.pid, number)

    @property
    def last_lines(self) -> list[str]:
        return [line[:500] for line in map(self._program.readable, self._last) if line]

    async def _until_end(self) -> int:
        assert self._process.stdout
        reading = asyncio.create_task(self._read_lines(self._process.stdout))
        status = await self._process.wait()
        signal_group(self.pid, signal.SIGKILL)  # what it may have started and left behind
        self._tell_guard(f"- {self.pid}")
        await asyncio.wait([reading], timeout=1)
        return status

    async def _read_lines(self, stream: asyncio.StreamReader) -> None:
        rest = b""
        while chunk := await stream.read(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _MAX_LINE:
                lines, rest = [*lines, rest], b""
            for raw in lines:
                line = raw.decode(errors="replace").rstrip("\r")
                self._last.append(line[:10_000])
                self._program.output(line)
        if rest:
            self._program.output(rest.decode(errors="replace"))

    def _tell_guard(self, line: str) -> None:
        if self._guard.stdin and not self._guard.stdin.is_closing():
            self._guard.stdin.write(line.encode() + b"\n")
