"""The delay of the event loop."""

from __future__ import annotations

import asyncio
import time

from babygun.runtime.event_loop import watch_lag
from babygun.runtime.exposition import render
from tests.support.scraping import Scraped


async def test_stall_of_the_event_loop_is_measured() -> None:
    watching = asyncio.create_task(watch_lag(0.05))
    await asyncio.sleep(0)
    time.sleep(0.25)  # noqa: ASYNC251 (the stall)
    try:
        async with asyncio.timeout(20):
            while (  # noqa: ASYNC110
                Scraped(render("api")[0].decode()).get("babygun_event_loop_lag_seconds") or 0
            ) < 0.15:
                await asyncio.sleep(0.01)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
