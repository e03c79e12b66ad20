"""Tasks that end together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def cancel_all(*tasks: asyncio.Future[Any]) -> None:
    """Cancels tasks, and waits until they have ended. What they raise is dropped."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def run_together(name: str, *works: Coroutine[Any, Any, None]) -> None:
    """Runs them as tasks until all have ended. The first error ends the others, and is raised."""
    tasks = [asyncio.create_task(work, name=name) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        await cancel_all(*tasks)
