"""Processes that are copies of this one: forks, which share what was loaded before.

A copy is in a session of its own, so that a terminal's Ctrl-C reaches the supervisor alone.

Only the supervisor has the writing end of a pipe, the lifeline. It closes with the supervisor,
however that ends. A copy that reads the end of the lifeline sends itself SIGTERM, and SIGKILL when
its time has passed. This works on every POSIX system.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from babygun.runtime.logs import get_logger
from babygun.runtime.processes.supervisor import Component, StartFailed

log = get_logger("processes")

INTERRUPTED = 130  # the exit status after Ctrl-C
_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)  # by the supervisor


class Copy(NamedTuple):
    """What a copy gets. ``number``: 1, 2, …, the same when it is started again.

    It has to call ``up`` once it works.
    """

    number: int
    up: Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Fork(Component):
    """A copy to keep running; its name is its number.

    ``run`` does its work, and returns its exit status.
    """

    run: Callable[[Copy], int]


class Forks:
    """Launches copies. Nothing else in this process may start processes.

    It collects every child, also those that it did not start. So this process can be process 1 of
    a container, which gets all orphans.
    """

    def __init__(self) -> None:
        self._lifeline, self._holding = os.pipe()
        self._running: dict[int, RunningFork] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGCHLD, self._collect)

    async def launch(self, fork: Fork) -> RunningFork:
        launched: asyncio.Future[RunningFork] = self._loop.create_future()
        # In a callback, as a copy of a task would take itself for the task that runs.
        self._loop.call_soon(self._try_to_fork, fork, launched)
        return await launched

    def _try_to_fork(self, fork: Fork, launched: asyncio.Future[RunningFork]) -> None:
        try:
            launched.set_result(self._fork(fork))
        except OSError as error:
            reason = f"can't be started: {error.strerror or error}"
            launched.set_exception(StartFailed(fork, reason))

    def _fork(self, fork: Fork) -> RunningFork:
        reading, writing = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        # The copy gets no signal before it has its own handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            pid = os.fork()
            if pid == 0:
                _live(
                    fork, up=writing, lifeline=self._lifeline, supervisors=(reading, self._holding)
                )
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        running = self._running[pid] = RunningFork(pid, reading)
        return running

    def _collect(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if running := self._running.pop(pid, None):  # else it is an orphan
                running.ended.set_result(os.waitstatus_to_exitcode(status))


class RunningFork:
    """``reading``: the end of a pipe on which the copy says that it is up."""

    last_lines = ()  # nobody reads its output here

    def __init__(self, pid: int, reading: int) -> None:
        self.pid = pid
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self._up = asyncio.Event()
        self._loop.add_reader(reading, self._read, reading)

    async def up(self) -> None:
        await self._up.wait()

    def signal(self, number: int) -> None:
        if not self.ended.done():
            os.kill(self.pid, number)

    def _read(self, reading: int) -> None:
        if os.read(reading, 1):
            self._up.set()
        self._loop.remove_reader(reading)
        os.close(reading)


def _live(fork: Fork, *, up: int, lifeline: int, supervisors: tuple[int, int]) -> NoReturn:
    """The whole life of a copy.

    ``up``, ``lifeline``: its own ends of pipes. ``supervisors``: those that it has to close.
    """
    status = 1
    try:
        for descriptor in supervisors:
            os.close(descriptor)
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in _HANDLED:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        threading.Thread(
            target=_follow, args=(lifeline, fork.stop_within), name="lifeline", daemon=True
        ).start()

        def say_up() -> None:
            os.write(up, b"u")
            os.close(up)

        status = int(fork.run(Copy(int(fork.name), say_up)))  # int: one without a status has failed
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BaseException:
        traceback.print_exc()
    finally:  # a copy never returns into the code of the supervisor
        try:
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def _follow(lifeline: int, grace: float) -> None:
    os.read(lifeline, 1)
    log.warning("supervisor gone")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace)
    os.kill(os.getpid(), signal.SIGKILL)
