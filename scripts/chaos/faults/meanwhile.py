"""Work that goes on while something is broken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

Ending = Callable[[], Awaitable[None]]


def ending(work: Coroutine[Any, Any, None]) -> Ending:
    """Starts ``work``. The function that is returned ends it."""
    task = asyncio.create_task(work)

    async def end() -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    return end
