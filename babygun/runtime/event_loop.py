"""How the long-running processes run: on uvloop's event loop where it is installed, with a garbage collector that fits."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# Under load thousands of e-mails are on their way at once, and nearly all that they are made of is freed by its reference count.
# Python's default is to look for cycles after each 700 new objects, which takes a tenth of all CPU time.
_YOUNG, _MIDDLE, _OLD = 50_000, 20, 20


def run(main: Coroutine[Any, Any, T]) -> T:
    """What ``asyncio.run`` does."""
    try:
        import uvloop

        loop_factory = uvloop.new_event_loop
    except ImportError:
        loop_factory = asyncio.new_event_loop
    gc.collect()
    gc.freeze()  # what has been imported stays for good
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main)
