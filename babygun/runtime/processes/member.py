"""One of several processes: how it begins as a fork of its supervisor, and how it ends when that is gone.

It is in a session of its own, so that a terminal's Ctrl-C reaches the supervisor alone. A pipe of which only the supervisor has the
writing end is its lifeline: the pipe's end means that the supervisor is no more, however it died, and works on any POSIX system. The
process then gets SIGTERM, as from the supervisor, and SIGKILL when its time to drain is over.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from typing import NamedTuple, NoReturn

from babygun.runtime.logs import get_logger

log = get_logger("processes")

INTERRUPTED = 130  # the exit status after Ctrl-C


class Member(NamedTuple):
    """What a process knows of its place. ``number``: 1, 2, …; it stays when the process is started again. ``up``: to be called once it works."""

    number: int
    up: Callable[[], None]


def live(
    number: int,
    run: Callable[[Member], int],
    *,
    tell: int,
    lifeline: int,
    foreign: Iterable[int],
    grace: float,
    handled: Iterable[signal.Signals],
) -> NoReturn:
    """The forked process's whole life: ``run``, and out with the status that it returns.

    ``tell`` and ``lifeline`` are its own ends of pipes, ``foreign`` the supervisor's descriptors, ``handled`` the signals that were blocked while it was forked.
    """
    status = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for signum in handled:
            signal.signal(
                signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL
            )
        for descriptor in foreign:
            os.close(descriptor)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handled)
        threading.Thread(
            target=_follow, args=(lifeline, grace), name="lifeline", daemon=True
        ).start()

        def up() -> None:
            os.write(tell, b"u")
            os.close(tell)

        status = run(Member(number, up))
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BaseException:
        traceback.print_exc()
    finally:  # no return into the supervisor's frames, and none of its exit handlers
        try:
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def _follow(lifeline: int, grace: float) -> None:
    os.read(lifeline, 1)
    log.warning("the supervisor is gone: stopping")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace)
    os.kill(os.getpid(), signal.SIGKILL)
