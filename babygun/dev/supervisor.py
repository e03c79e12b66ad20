"""Keeps a few processes running: starts them in order, starts again what dies, stops them in order.

Each component is a process in a session of its own, so that a terminal's Ctrl-C reaches the supervisor alone. It counts as
started when its ``ready`` says so. One that dies is started again after a pause that doubles from 0.5 s to 30 s and begins anew after
a minute of health. At its very first start that is different: a component that ends or never gets ready then fails the whole start.
Nothing survives the supervisor, even if it is killed: see :mod:`babygun.dev.guard`.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from babygun.dev.guard import GRACE, signal_group
from babygun.dev.interpreter import python_command, python_environment
from babygun.errors import BabygunError
from babygun.runtime.processes import Backoff, describe_status

_POLL = 0.05  # seconds between two looks at whether a component is ready
_LINES = 12  # of its last output that an error shows


class StartFailed(BabygunError):
    """A component did not start."""


@dataclass(frozen=True)
class Component:
    """A process to keep running."""

    name: str  # "worker-2"
    role: str  # "worker": what its pids go by
    command: Sequence[str]
    environment: Mapping[str, str]
    ready: Callable[[int], Awaitable[bool]]  # takes its pid; an exception counts as "not yet"
    rank: int  # the order of stopping, lowest first
    output: Callable[[str], None]  # takes each line of its output
    readable: Callable[[str], str] = str  # a line as an error message shows it; empty: not at all
    start_within: float = 60.0  # seconds
    stop_within: float = 10.0  # seconds from SIGTERM to SIGKILL


@dataclass(eq=False)
class _Child:
    component: Component
    backoff: Backoff
    process: asyncio.subprocess.Process | None = None
    ready: bool = False
    last: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES))
    task: asyncio.Task[None] | None = None
    reader: asyncio.Task[None] | None = None


class Supervisor:
    """``say`` takes a line for the person; ``changed`` is called after each change of :meth:`pids`.

    ``inherit``: file descriptors that the guard keeps open until nothing is left of the children. ``guard_grace``: seconds
    that it gives them, per rank.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        changed: Callable[[], None],
        *,
        inherit: Sequence[int] = (),
        backoff: Callable[[], Backoff] = Backoff,
        guard_grace: float = GRACE,
    ) -> None:
        self._say, self._changed, self._inherit, self._backoff, self._guard_grace = (
            say,
            changed,
            inherit,
            backoff,
            guard_grace,
        )
        self._children: list[_Child] = []
        self._guard: asyncio.subprocess.Process | None = None
        self._killed = False

    def pids(self) -> dict[str, list[int]]:
        """The process ids of what is ready, by role."""
        found: dict[str, list[int]] = {child.component.role: [] for child in self._children}
        for child in self._children:
            if child.ready and child.process:
                found[child.component.role].append(child.process.pid)
        return found

    async def start(self, component: Component) -> None:
        """Starts it and returns when it is ready; from then on it is kept running. Raises StartFailed."""
        if self._guard is None:
            self._guard = await asyncio.create_subprocess_exec(
                *python_command("babygun.dev.guard", str(self._guard_grace)),
                env=python_environment(),
                stdin=asyncio.subprocess.PIPE,
                start_new_session=True,
                pass_fds=self._inherit,
            )
        child = _Child(component, self._backoff())
        self._children.append(child)
        process = await self._launch(child)
        if not await self._became_ready(child, process):
            status = await self._end(child, process)
            what = (
                "was not ready in time"
                if status is None
                else f"ended at once ({describe_status(status)})"
            )
            said = "".join(
                f"\n  {line[:500]}" for line in map(component.readable, child.last) if line
            )
            raise StartFailed(
                f"{component.name} {what}" + (f"; its last words:{said}" if said else "")
            )
        child.task = asyncio.create_task(self._keep(child, process), name=f"keep-{component.name}")

    async def stop(self) -> None:
        """Ends everything: those of the lowest rank first, each rank at once, each process within its time."""
        for child in self._children:
            if child.task:
                child.task.cancel()
        for rank in sorted({child.component.rank for child in self._children}):
            await asyncio.gather(
                *(self._stop(child) for child in self._children if child.component.rank == rank)
            )
        if self._guard and self._guard.stdin:
            self._guard.stdin.close()
            await self._guard.wait()

    def kill(self) -> None:
        """Ends everything at once."""
        self._killed = True
        for child in self._children:
            if child.process and child.process.returncode is None:
                signal_group(child.process.pid, signal.SIGKILL)

    async def _keep(self, child: _Child, process: asyncio.subprocess.Process) -> None:
        name, since = child.component.name, time.monotonic()
        while True:
            status = await process.wait()
            healthy = time.monotonic() - since if child.ready else 0.0
            self._gone(child, process)
            pause = child.backoff.pause(healthy)
            self._say(f"{name} ended ({describe_status(status)}); starting it again in {pause:g} s")
            await asyncio.sleep(pause)
            try:
                process = await self._launch(child)
            except StartFailed as error:
                self._say(str(error))
                continue
            if await self._became_ready(child, process):
                since = time.monotonic()
                self._say(f"{name} runs again")
            elif process.returncode is None:
                self._say(
                    f"{name} was not ready within {child.component.start_within:g} s; ending it"
                )
                signal_group(process.pid, signal.SIGKILL)

    async def _launch(self, child: _Child) -> asyncio.subprocess.Process:
        component = child.component
        pipe = asyncio.subprocess.PIPE
        launching = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *component.command,
                env=component.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=pipe,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        )
        try:
            process = await asyncio.shield(launching)
        except OSError as error:
            raise StartFailed(
                f"{component.name} can't be started: {error.strerror or error}"
            ) from None
        except asyncio.CancelledError:  # a process that is just being made must not be lost
            with suppress(OSError):
                child.process = await launching
                self._tell_guard(f"+ {component.rank} {child.process.pid}")
            raise
        child.process = process
        self._tell_guard(f"+ {component.rank} {process.pid}")
        assert process.stdout is not None
        child.reader = asyncio.create_task(
            _read_lines(process.stdout, child), name=f"read-{component.name}"
        )
        if self._killed:
            signal_group(process.pid, signal.SIGKILL)
        return process

    async def _became_ready(self, child: _Child, process: asyncio.subprocess.Process) -> bool:
        deadline = time.monotonic() + child.component.start_within
        while process.returncode is None and time.monotonic() < deadline:
            with suppress(Exception):  # whatever it is: not yet
                async with asyncio.timeout(5):
                    if await child.component.ready(process.pid) and process.returncode is None:
                        child.ready = True
                        self._changed()
                        return True
            await asyncio.sleep(_POLL)
        return False

    async def _stop(self, child: _Child) -> None:
        if child.task:
            await asyncio.wait([child.task])
        if child.process and child.process.returncode is None:
            await self._end(child, child.process)
        elif child.process:
            self._gone(child, child.process)
        if child.reader:
            await asyncio.wait([child.reader], timeout=1)

    async def _end(self, child: _Child, process: asyncio.subprocess.Process) -> int | None:
        """SIGTERM, then SIGKILL; its status where it had ended by itself."""
        if process.returncode is not None:
            self._gone(child, process)
            if child.reader:
                await asyncio.wait([child.reader], timeout=1)  # its last words
            return process.returncode
        signal_group(process.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(child.component.stop_within):
                await process.wait()
        except TimeoutError:
            self._say(
                f"{child.component.name} did not stop within {child.component.stop_within:g} s; killing it"
            )
            signal_group(process.pid, signal.SIGKILL)
            await process.wait()
        self._gone(child, process)
        return None

    def _gone(self, child: _Child, process: asyncio.subprocess.Process) -> None:
        if child.process is process:
            signal_group(process.pid, signal.SIGKILL)  # what it may have started and left behind
            self._tell_guard(f"- {process.pid}")
            child.process = None
        if child.ready:
            child.ready = False
            self._changed()

    def _tell_guard(self, line: str) -> None:
        if self._guard and self._guard.stdin and not self._guard.stdin.is_closing():
            self._guard.stdin.write(line.encode() + b"\n")


async def _read_lines(stream: asyncio.StreamReader, child: _Child) -> None:
    rest = b""
    while chunk := await stream.read(65536):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > 1 << 20:  # a line without an end is cut
            lines, rest = [*lines, rest], b""
        for raw in lines:
            line = raw.decode(errors="replace").rstrip("\r")
            child.last.append(line[:10_000])
            child.component.output(line)
    if rest:
        child.component.output(rest.decode(errors="replace"))
