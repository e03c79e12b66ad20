"""How the long-running processes run: on uvloop if it is installed, with few garbage collections.

:func:`watch_lag` measures how late the event loop is. :class:`Turns` keeps long work from making it
late.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import deque
from collections.abc import Coroutine
from typing import Any, TypeVar

from babygun.runtime.metrics import EVENT_LOOP_LAG

T = TypeVar("T")

# Under load thousands of e-mails are in work at once, and reference counts free nearly all of
# their objects. Python's default, a collection after 700 new objects, takes a tenth of all CPU.
_YOUNG, _MIDDLE, _OLD = 50_000, 20, 20


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine, as ``asyncio.run`` does, and returns its result."""
    try:
        import uvloop

        loop_factory = uvloop.new_event_loop
    except ImportError:
        loop_factory = asyncio.new_event_loop
    gc.collect()
    gc.freeze()  # what was imported so far is never collected
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.get_loop().set_exception_handler(_report)
        return runner.run(main)


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Reports what no task gets, but for the last words of a TLS connection that is closed.

    uvloop writes them although it has closed the connection. That loses nothing: the task that uses
    the connection gets the reason.
    """
    error = context.get("exception")
    if isinstance(error, RuntimeError) and str(error).endswith("the handler is closed"):
        return
    loop.default_exception_handler(context)


async def watch_lag(interval: float = 1.0) -> None:
    """Measures every ``interval`` seconds how late the event loop is. Runs until cancelled.

    The metric shows the worst of the last 15 values, so that a reader every 15 s misses none.
    """
    loop = asyncio.get_running_loop()
    latest: deque[float] = deque(maxlen=15)
    while True:
        due = loop.time() + interval
        await asyncio.sleep(interval)
        latest.append(max(0.0, loop.time() - due))
        EVENT_LOOP_LAG.set(max(latest))


class Turns:
    """Gives other tasks their turn while one works through many things.

    ``seconds``: how long the one may go on without a pause.
    """

    def __init__(self, seconds: float = 0.005) -> None:
        self._seconds = seconds
        self._due = time.monotonic() + seconds

    async def offer(self) -> None:
        """Pauses if it is time to."""
        if time.monotonic() >= self._due:
            await asyncio.sleep(0)
            self._due = time.monotonic() + self._seconds
