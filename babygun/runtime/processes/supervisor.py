"""The supervisor: starts processes, starts again what ends, ends all of them together.

    start    returns when the process is up. A process that ends before, or takes too long, fails
    up       a process that ends is started again after a pause (0.5 s, doubled up to 30 s).
             After a minute of health the pauses begin at 0.5 s again
    stop     SIGTERM, lowest rank first; SIGKILL when the time of a process has passed

How a process is started is up to :mod:`.programs` and :mod:`.forks`. They also end the processes
if the supervisor is killed.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from babygun.errors import BabygunError
from babygun.runtime.logs import Log
from babygun.runtime.processes.exits import Backoff, describe_status


@dataclass(frozen=True, kw_only=True)
class Component:
    """A process to keep running."""

    name: str | int  # "worker-2"
    role: str  # "worker": the key of its process id in `pids`
    rank: int = 0  # the order of stopping, lowest first
    start_within: float | None = None  # seconds; None: without a limit
    stop_within: float = 10.0  # seconds from SIGTERM to SIGKILL


C = TypeVar("C", bound=Component)


class Running(Protocol):
    """A process that was started."""

    pid: int
    ended: asyncio.Future[int]  # its exit status, negative for a signal

    @property
    def last_lines(self) -> Sequence[str]:
        """The end of its output, for an error message."""

    async def up(self) -> None:
        """Returns when the process works; perhaps never, if it ends before."""

    def signal(self, number: int) -> None:
        """Sends a signal; does nothing once the process has ended."""


class StartFailed(BabygunError):
    """A process did not start. ``status``: its exit status, if it ended."""

    def __init__(self, component: Component, reason: str, status: int | None = None) -> None:
        super().__init__(f"{component.name} {reason}")
        self.component, self.reason, self.status = component, reason, status


@dataclass(eq=False)
class _Child(Generic[C]):
    component: C
    backoff: Backoff
    running: Running | None = None
    up_since: float | None = None  # monotonic; None: it is not up
    keeper: asyncio.Task[None] | None = None


class Supervisor(Generic[C]):
    """Keeps processes running. ``launch`` starts one, or raises StartFailed.

    ``changed`` is called when :meth:`pids` has changed, except while all are being stopped.
    ``gives_up`` is asked when a process that was up has ended, with its exit status. If it says
    yes, the process is not started again, and :meth:`run` stops all others.
    """

    def __init__(
        self,
        launch: Callable[[C], Coroutine[Any, Any, Running]],
        log: Log,
        *,
        changed: Callable[[], None] = lambda: None,
        gives_up: Callable[[C, int], bool] = lambda component, status: False,
        backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        self._launch_process, self._log, self._changed = launch, log, changed
        self._gives_up, self._backoff = gives_up, backoff
        self._children: list[_Child[C]] = []
        self._stopping = asyncio.Event()
        self._killed = False
        self._status = 0
        self.killed_by: signal.Signals | None = None
        """The second signal, if it killed the processes."""

    def pids(self) -> dict[str, list[int]]:
        """The process ids of what is up, by role."""
        found: dict[str, list[int]] = {child.component.role: [] for child in self._children}
        for child in self._children:
            if child.running and child.up_since is not None:
                found[child.component.role].append(child.running.pid)
        return found

    def count(self) -> int:
        """How many processes there are, up or not."""
        return sum(child.running is not None for child in self._children)

    async def run(
        self,
        start: Awaitable[None],
        signals: Iterable[signal.Signals],
        *,
        second_signal_kills: bool,
    ) -> int:
        """Awaits ``start``, and stops everything at the first signal. Returns the exit status.

        The status is 0 if all processes ended in order. Raises what ``start`` raises.
        """

        def signalled(number: signal.Signals) -> None:
            if not self._stopping.is_set():
                self._log.info("stopping processes", signal=number.name)
                self._stopping.set()
            elif second_signal_kills and self.killed_by is None:
                self.killed_by = number
                self.kill()

        loop = asyncio.get_running_loop()
        for number in signals:
            loop.add_signal_handler(number, signalled, number)
        starting = asyncio.ensure_future(start)
        waiting = asyncio.create_task(self._stopping.wait(), name="wait for a signal")
        try:
            await asyncio.wait([starting, waiting], return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await waiting
        finally:
            for task in (starting, waiting):
                task.cancel()
            await asyncio.wait([starting, waiting])
            await self.stop()
        return self._status

    async def start(self, *components: C) -> None:
        """Starts processes at the same time, and returns when all are up. Raises StartFailed.

        Each is kept running as soon as it is up.
        """
        tasks = [asyncio.create_task(self._start(component)) for component in components]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def stop(self) -> None:
        """Ends everything: one rank after the other, the processes of a rank at the same time."""
        self._stopping.set()
        for child in self._children:
            if child.keeper:
                child.keeper.cancel()
        for rank in sorted({child.component.rank for child in self._children}):
            await asyncio.gather(
                *(self._stop(child) for child in self._children if child.component.rank == rank)
            )

    def kill(self) -> None:
        """Ends everything at once."""
        self._killed = True
        for child in self._children:
            if child.running:
                child.running.signal(signal.SIGKILL)

    async def _start(self, component: C) -> None:
        child = _Child(component, self._backoff())
        self._children.append(child)
        running = await self._launch(child)
        if not await self._came_up(child, running):
            status = running.ended.result() if running.ended.done() else None
            await self._end(child, running)
            reason = (
                "was not ready in time"
                if status is None
                else f"ended at once ({describe_status(status)})"
            )
            if running.last_lines:
                reason = "\n  ".join([f"{reason}; its last words:", *running.last_lines])
            raise StartFailed(component, reason, status)
        child.keeper = asyncio.create_task(
            self._keep(child, running), name=f"keep {component.name}"
        )

    async def _keep(self, child: _Child[C], running: Running) -> None:
        """Starts the process again whenever it ends."""
        component, name = child.component, child.component.name
        while True:
            status = await asyncio.shield(running.ended)
            up_for = 0.0 if child.up_since is None else time.monotonic() - child.up_since
            self._gone(child)
            if self._gives_up(component, status):
                self._status = status if status > 0 else 1
                self._stopping.set()
                return
            pause = child.backoff.pause(up_for)
            self._log.warning(
                "process ended",
                process=name,
                pid=running.pid,
                status=describe_status(status),
                pause_seconds=pause,
            )
            await asyncio.sleep(pause)
            try:
                running = await self._launch(child)
            except StartFailed as error:
                self._log.error("process not started", process=name, error=error.reason)
                continue
            if await self._came_up(child, running):
                self._log.info("process up again", process=name, pid=running.pid)
            elif not running.ended.done():
                self._log.error("process not up", process=name, seconds=component.start_within)
                running.signal(signal.SIGKILL)

    async def _launch(self, child: _Child[C]) -> Running:
        launching = asyncio.create_task(self._launch_process(child.component))
        try:
            child.running = await asyncio.shield(launching)
        except asyncio.CancelledError:  # the process exists all the same, and must be ended
            with suppress(StartFailed):
                child.running = await launching
            raise
        if self._killed:
            child.running.signal(signal.SIGKILL)
        return child.running

    async def _came_up(self, child: _Child[C], running: Running) -> bool:
        up = asyncio.create_task(running.up())
        either: tuple[asyncio.Future[Any], ...] = (up, running.ended)
        try:
            await asyncio.wait(
                either,
                timeout=child.component.start_within,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not up.done() or running.ended.done():
                return False
        finally:
            up.cancel()
        child.up_since = time.monotonic()
        self._changed()
        return True

    async def _stop(self, child: _Child[C]) -> None:
        if child.keeper:
            await asyncio.wait([child.keeper])
        if child.running:
            status = await self._end(child, child.running)
            if status not in (0, -signal.SIGTERM):  # the signal: it had no handler for it yet
                self._status = self._status or (status if status > 0 else 1)

    async def _end(self, child: _Child[C], running: Running) -> int:
        running.signal(signal.SIGTERM)
        stop_within = child.component.stop_within
        await asyncio.wait([running.ended], timeout=stop_within)
        if not running.ended.done():
            self._log.error(
                "process killed",
                process=child.component.name,
                pid=running.pid,
                seconds=stop_within,
            )
            running.signal(signal.SIGKILL)
            await asyncio.wait([running.ended])
        self._gone(child)
        return running.ended.result()

    def _gone(self, child: _Child[C]) -> None:
        was_up, child.running, child.up_since = child.up_since is not None, None, None
        if was_up and not self._stopping.is_set():
            self._changed()
