"""How the long-running processes run: on uvloop if it is installed, with few garbage collections.

:func:`watch_lag` measures how late the event loop is.
"""

from __future__ import annotations

import asyncio
import gc
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
        return runner.run(main)


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
