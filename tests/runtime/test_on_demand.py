"""A reading that several callers share."""

from __future__ import annotations

import asyncio

from babygun.runtime.on_demand import OnDemand


async def test_reading_serves_all_until_it_is_old_and_one_is_made_at_a_time() -> None:
    made, may_end = 0, asyncio.Event()

    async def read() -> None:
        nonlocal made
        made += 1
        await may_end.wait()

    reading = OnDemand(read, "reading")
    assert reading.waited == 0
    first, second = reading.refresh(0.0), reading.refresh(0.0)
    assert first is second, "it has not ended, however old it is"
    await asyncio.sleep(0)
    assert reading.waited > 0
    may_end.set()
    await first
    assert reading.waited == 0 and reading.refresh(60.0) is first
    again = reading.refresh(0.0)
    await again
    assert again is not first and made == 2


async def test_caller_that_waits_no_longer_ends_no_reading() -> None:
    may_end = asyncio.Event()

    async def read() -> None:
        await may_end.wait()

    reading = OnDemand(read, "reading")
    await asyncio.wait([reading.refresh(9.0)], timeout=0)
    may_end.set()
    await reading.refresh(9.0)
