"""Runs N copies of this process under a supervisor, for ``--processes N``.

The first copy starts alone: if it can't work, nor can the others, and the reason is said once.
When it is up, the others start. A copy that ends before all are up ends the supervisor, with its
status. Later, the supervisor ends if the last copy exits because of wrong settings (status 2).
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable

from babygun.runtime.logs import get_logger
from babygun.runtime.processes.exits import Backoff, describe_status
from babygun.runtime.processes.forks import Copy, Fork, Forks
from babygun.runtime.processes.supervisor import Component, StartFailed, Supervisor
from babygun.runtime.watchdog import watched

log = get_logger("processes")

_FAILED, _SETTINGS_WRONG = 1, 2  # exit statuses, as the command line has them


def run_copies(
    count: int,
    run: Callable[[Copy], int],
    *,
    grace: float,
    second_signal_kills: bool,
    all_up: Callable[[], None] = lambda: None,
    backoff: Callable[[], Backoff] = Backoff,
) -> int:
    """Returns when all copies have ended, with the exit status: 0 if they ended in order.

    ``run`` does the work of a copy, and returns its exit status; it has to ignore a second
    SIGTERM. ``grace``: seconds from SIGTERM to SIGKILL. ``all_up`` is called once. The process may
    have no other thread. If a second signal kills the copies, this process dies of it too.
    """
    gc.collect()
    gc.freeze()  # the copies share what is loaded so far, unless their collectors write to it
    forks = [
        Fork(name=number, role="copies", run=run, stop_within=grace)
        for number in range(1, count + 1)
    ]
    status, killed_by = asyncio.run(_run(forks, second_signal_kills, all_up, backoff))
    if killed_by == signal.SIGTERM:
        os.kill(os.getpid(), signal.SIGTERM)  # process 1 of a container survives this
    return 128 + killed_by if killed_by else status


async def _run(
    forks: list[Fork],
    second_signal_kills: bool,
    all_up: Callable[[], None],
    backoff: Callable[[], Backoff],
) -> tuple[int, signal.Signals | None]:
    started = False

    def gives_up(fork: Fork, status: int) -> bool:
        if not started:
            _log_failed_start(fork, status)
        elif status == _SETTINGS_WRONG and not supervisor.count():
            log.error("last process failed", process=fork.name)
        else:
            return False
        return True

    supervisor = Supervisor(Forks().launch, log, gives_up=gives_up, backoff=backoff)

    async def start() -> None:
        nonlocal started
        try:
            await supervisor.start(forks[0])
            await supervisor.start(*forks[1:])
        except StartFailed as error:
            if error.status is None:
                log.error("process not started", process=error.component.name, error=error.reason)
            else:
                _log_failed_start(error.component, error.status)
            raise
        started = True
        all_up()
        log.info("processes up", processes=len(forks), pids=supervisor.pids()["copies"])

    try:
        async with watched(0):  # each copy has a timer of its own
            status = await supervisor.run(
                start(), (signal.SIGTERM, signal.SIGINT), second_signal_kills=second_signal_kills
            )
    except StartFailed as error:
        status = max(error.status or 0, 0) or _FAILED
    return status, supervisor.killed_by


def _log_failed_start(component: Component, status: int) -> None:
    if status <= 0:  # with an exit status above 0 it has said why
        log.error("process failed at start", process=component.name, status=describe_status(status))
