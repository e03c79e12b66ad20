"""Runs N processes of one kind: forks them, starts again what dies, ends all of them together.

    start     the first alone, since what keeps it from working keeps all of them, and is then said once; when it is up, the rest.
              One that ends before all are up ends the supervisor, with its status
    up        one that ends is started again after a pause that doubles from 0.5 s to 30 s, and begins anew after a minute of health.
              Where it was the last, and says that it is set up wrongly (status 2), the supervisor ends too: nothing would mend that
    stopping  SIGTERM to all at the first SIGTERM or SIGINT; SIGKILL to those that are left when their time is over

It has no event loop and no threads, which don't go together with fork: it sleeps until a signal comes, a process says that it is up, or a
pause is over. It collects every child, so it can be process 1 of a container. What happens when it is killed: :mod:`babygun.runtime.processes.member`.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from babygun.runtime.logs import get_logger
from babygun.runtime.processes.backoff import Backoff, describe_status
from babygun.runtime.processes.member import Member, live

log = get_logger("processes")

_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_FAILED, _SET_UP_WRONGLY = 1, 2  # exit statuses, as the command line has them


@dataclass(eq=False)
class _Child:
    number: int
    backoff: Backoff
    pid: int = 0  # 0: it does not run
    told: int = -1  # until it is up, our end of the pipe by which it says so
    up_since: float | None = None  # monotonic
    again_at: float | None = None  # monotonic


class Supervisor:
    """:meth:`run` it once, in the main thread of a process that has no other."""

    def __init__(
        self,
        count: int,
        run: Callable[[Member], int],
        *,
        grace: float,
        second_signal_kills: bool,
        all_up: Callable[[Sequence[int]], None],
        backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        """``run``: a process's work and exit status; it calls ``up`` of its Member once it works, and takes any number of SIGTERMs for one.

        ``grace``: seconds from SIGTERM to SIGKILL. ``all_up`` gets the process ids, once.
        """
        self._run, self._grace, self._second_signal_kills, self._all_up = (
            run,
            grace,
            second_signal_kills,
            all_up,
        )
        self._children = [_Child(number, backoff()) for number in range(1, count + 1)]
        self._started = self._stopping = False
        self._status = 0
        self._deadline: float | None = None  # monotonic; of the stop
        self._killed_by: signal.Signals | None = None
        self._lifeline = self._holding = self._woken = self._waking = -1

    def run(self) -> int:
        """Returns the exit status when all have ended: 0 where they did so in order. A second signal that kills ends this process as well."""
        gc.collect()
        gc.freeze()  # what is loaded so far stays shared between the processes: their collectors would write to it
        self._lifeline, self._holding = os.pipe()
        with self._signals():
            self._fork(self._children[0])
            while self._alive() or not self._stopping:
                self._wait()
                self._collect()
                self._on_time()
        os.close(self._holding)
        os.close(self._lifeline)
        if self._killed_by == signal.SIGTERM:
            os.kill(
                os.getpid(), signal.SIGTERM
            )  # as a process without a handler ends; process 1 of a container would not
        return 128 + self._killed_by if self._killed_by else self._status

    # --- waiting ---

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals as bytes of a pipe, for select."""
        self._woken, self._waking = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._waking, False)
        before = {signum: signal.signal(signum, lambda *_: None) for signum in _HANDLED}
        signal.set_wakeup_fd(self._waking, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            for signum, handler in before.items():
                signal.signal(signum, handler)
            os.close(self._woken)
            os.close(self._waking)

    def _wait(self) -> None:
        times = [
            at
            for at in (self._deadline, *(child.again_at for child in self._children))
            if at is not None
        ]
        patience = max(0.0, min(times) - time.monotonic()) if times else None
        told = {child.told: child for child in self._children if child.told >= 0}
        readable, _, _ = select.select([self._woken, *told], [], [], patience)
        for descriptor in readable:
            if descriptor == self._woken:
                for signum in os.read(descriptor, 4096):
                    if signum != signal.SIGCHLD:
                        self._signalled(signal.Signals(signum))
            else:
                self._heard(told[descriptor])

    def _signalled(self, signum: signal.Signals) -> None:
        if not self._stopping:
            log.info("stopping all processes", signal=signum.name)
            self._stop(0)
        elif self._second_signal_kills and self._killed_by is None:
            self._killed_by = signum
            self._send(signal.SIGKILL)

    def _heard(self, child: _Child) -> None:
        said = os.read(child.told, 1)
        os.close(child.told)
        child.told = -1
        if not said or self._stopping:
            return
        child.up_since = time.monotonic()
        if self._started:
            log.info("process runs again", process=child.number, pid=child.pid)
            return
        for other in self._children:
            if not other.pid and not self._stopping:
                self._fork(other)
        if all(child.up_since is not None for child in self._children):
            self._started = True
            self._all_up([child.pid for child in self._children])

    def _collect(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            child = next((child for child in self._children if child.pid == pid), None)
            if child is not None:  # else an orphan that came to us as process 1
                self._ended(child, os.waitstatus_to_exitcode(status))

    def _on_time(self) -> None:
        now = time.monotonic()
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            for child in self._alive():
                log.error(
                    "process did not stop in time: killing it",
                    process=child.number,
                    pid=child.pid,
                    seconds=self._grace,
                )
            self._status = self._status or _FAILED
            self._send(signal.SIGKILL)
        for child in self._children:
            if child.again_at is not None and now >= child.again_at:
                child.again_at = None
                self._fork(child)

    # --- the processes ---

    def _fork(self, child: _Child) -> None:
        told, tell = os.pipe()
        foreign = [
            told,
            self._holding,
            self._woken,
            self._waking,
            *(other.told for other in self._children if other.told >= 0),
        ]
        sys.stdout.flush()
        sys.stderr.flush()
        signal.pthread_sigmask(
            signal.SIG_BLOCK, _HANDLED
        )  # a signal that is for the new process must not meet our handlers in it
        try:
            child.pid = os.fork()
            if child.pid == 0:
                live(
                    child.number,
                    self._run,
                    tell=tell,
                    lifeline=self._lifeline,
                    foreign=foreign,
                    grace=self._grace,
                    handled=_HANDLED,
                )
        except OSError as error:
            os.close(told)
            log.error("process can't be started", process=child.number, error=error.strerror)
            self._ended(child, _FAILED)
        else:
            child.told = told
        finally:
            os.close(tell)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)

    def _ended(self, child: _Child, status: int) -> None:
        pid, healthy = (
            child.pid,
            time.monotonic() - child.up_since if child.up_since is not None else 0.0,
        )
        child.pid, child.up_since = 0, None
        if child.told >= 0:
            os.close(child.told)
            child.told = -1
        if self._stopping:
            if status not in (
                0,
                -signal.SIGTERM,
            ):  # the signal itself, where it had no handler for it yet
                self._status = self._status or (status if status > 0 else _FAILED)
            return
        if not self._started:
            if status <= 0:  # else it has said why
                log.error(
                    "process ended before all were up",
                    process=child.number,
                    pid=pid,
                    status=describe_status(status),
                )
            self._stop(status if status > 0 else _FAILED)
            return
        if status == _SET_UP_WRONGLY and not self._alive():
            log.error("the last process ended: it is set up wrongly", process=child.number, pid=pid)
            self._stop(status)
            return
        pause = child.backoff.pause(healthy)
        child.again_at = time.monotonic() + pause
        log.warning(
            "process ended: starting it again",
            process=child.number,
            pid=pid or None,
            status=describe_status(status),
            pause_s=pause,
        )

    def _stop(self, status: int) -> None:
        self._stopping, self._status = True, status
        self._deadline = time.monotonic() + self._grace
        for child in self._children:
            child.again_at = None
        self._send(signal.SIGTERM)

    def _send(self, signum: signal.Signals) -> None:
        for child in self._alive():
            os.kill(child.pid, signum)

    def _alive(self) -> list[_Child]:
        return [child for child in self._children if child.pid]
