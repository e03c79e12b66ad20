"""Tasks that end together."""

from __future__ import annotations

import asyncio

import pytest

from babygun.runtime.tasks import cancel_all, run_together


async def test_first_error_ends_the_others_and_is_raised() -> None:
    ended = asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def broken() -> None:
        await asyncio.sleep(0)
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        await run_together("work", endless(), broken())
    assert ended.is_set()


async def test_cancelled_tasks_have_ended_whatever_they_raise() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("at the end")

    tasks = [asyncio.create_task(stubborn()), asyncio.create_task(asyncio.sleep(60))]
    await asyncio.sleep(0)
    await cancel_all(*tasks)
    assert all(task.done() for task in tasks)
