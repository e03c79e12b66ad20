"""The watchdog: ends a process that hangs, so that what started it starts another.

A process hangs if its event loop does not turn, or if a part of it stands still. A timer outside of
Python (faulthandler) is set back again and again. If that stops, it prints where each thread is,
and ends the process with status 1.

Under systemd with ``WatchdogSec``, systemd gets a sign of life as often (sd_notify(3)). So it also
ends a process that the kernel has stopped.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from babygun.runtime.logs import get_logger
from babygun.runtime.tasks import cancel_all

log = get_logger("watchdog")

_PARTS = 4  # signs of life in the time that the process may stand still


@asynccontextmanager
async def watched(seconds: float, stands_still: Callable[[], str] = str) -> AsyncIterator[None]:
    """Watches over this process while the block runs. One block at a time.

    ``seconds``: how long it may stand still; 0: only systemd watches, if it wants to.
    ``stands_still``: the part of the process that does, or empty.
    """
    waits = [each for each in (seconds, _time_of_systemd(os.environ)) if each]
    if not waits:
        yield
        return
    _give_sign(seconds)  # at once: the event loop may hang before the task has its first turn
    living = asyncio.create_task(_live(seconds, min(waits) / _PARTS, stands_still), name="watchdog")
    try:
        yield
    finally:
        await cancel_all(living)
        faulthandler.cancel_dump_traceback_later()


async def _live(seconds: float, pause: float, stands_still: Callable[[], str]) -> None:
    """Gives a sign of life after each pause, as long as no part stands still."""
    while True:
        if part := stands_still():
            log.error("process hangs", part=part)
            for task in asyncio.all_tasks():
                task.print_stack(file=sys.stderr)
            os._exit(1)
        _give_sign(seconds)
        await asyncio.sleep(pause)


def _give_sign(seconds: float) -> None:
    if seconds:
        faulthandler.dump_traceback_later(seconds, exit=True, file=2)
    notify("WATCHDOG=1")


def notify(state: str) -> None:
    """Sends a state to systemd, where it waits for one from this process."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path or not _is_meant(os.environ):
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path
    # Without the sign, systemd starts the process again: there is nothing better to do.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(state.encode(), address)


def _time_of_systemd(environ: Mapping[str, str]) -> float:
    """After how many seconds without a sign systemd ends this process; 0: never."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() and _is_meant(environ) else 0.0


def _is_meant(environ: Mapping[str, str]) -> bool:
    """Whether systemd started this process, and not a parent of it."""
    return environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
