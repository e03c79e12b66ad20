"""Side tasks: one of each name at a time, and none that crashes in silence."""

from __future__ import annotations

import asyncio

from babygun.consumer.side_tasks import SideTasks


async def test_task_that_is_cancelled_makes_room_for_the_next_of_its_name() -> None:
    ended: asyncio.Queue[None] = asyncio.Queue()
    side = SideTasks(lambda: ended.put_nowait(None))
    go = asyncio.Event()
    side.start("feed", asyncio.sleep(60))
    side.cancel("feed")
    assert "feed" not in side
    side.start("feed", _until(go))
    await ended.get()  # of the cancelled one
    assert "feed" in side and side.failure is None
    go.set()
    await ended.get()
    assert "feed" not in side


async def test_task_that_crashes_leaves_its_error() -> None:
    ended = asyncio.Event()
    side = SideTasks(ended.set)
    side.start("read slice", _broken())
    await ended.wait()
    assert isinstance(side.failure, RuntimeError) and "read slice" not in side


async def test_close_ends_all_tasks() -> None:
    side = SideTasks(lambda: None)
    side.start("one", asyncio.sleep(60))
    side.start("two", asyncio.sleep(60))
    await side.close()
    assert "one" not in side and "two" not in side


async def _until(event: asyncio.Event) -> None:
    await event.wait()


async def _broken() -> None:
    raise RuntimeError("a fault of ours")
