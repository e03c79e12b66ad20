"""Dispatch: what is started when, with tries and reads that the test decides on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from babygun.email.model import Job
from babygun.runtime.settings import Settings
from babygun.store.keys import JobRef
from babygun.worker.attempt import Attempt
from babygun.worker.dispatch import Dispatch
from babygun.worker.pause import ClaimPause
from babygun.worker.slices import Slice

SMALL = Job(size=1, recipients=1)


class FakeAttempts:
    """Tries that end with what the test puts into ``answers``; ``started`` has their jobs."""

    def __init__(self) -> None:
        self.pause, self.stopping = ClaimPause(), False
        self.started: asyncio.Queue[JobRef] = asyncio.Queue()
        self.answers: asyncio.Queue[bool] = asyncio.Queue()

    async def run(self, attempt: Attempt) -> bool:
        self.started.put_nowait(attempt.ref)
        return await self.answers.get()


class NoHolds:
    """No queue is held."""

    known = True

    def due(self) -> list[str]:
        return []

    def is_held(self, queue: str) -> bool:
        return False


@asynccontextmanager
async def dispatching() -> AsyncIterator[tuple[Dispatch, FakeAttempts]]:
    """A dispatch that runs, with a lease and the whole slice."""
    attempts = FakeAttempts()
    store = SimpleNamespace(settings=Settings())
    identity = SimpleNamespace(trusted=True, process_id="w1")
    membership = SimpleNamespace(identity=identity, worker_id="w1", slice=Slice(0, 256))
    dispatch = Dispatch(
        cast(Any, store),
        cast(Any, membership),
        cast(Any, attempts),
        cast(Any, NoHolds()),
        queues=1,
        limit=lambda queue: 100,
    )
    running = asyncio.create_task(dispatch.run())
    try:
        async with asyncio.timeout(20):
            yield dispatch, attempts
    finally:
        dispatch.stop()
        await dispatch.close()
        await asyncio.gather(running, return_exceptions=True)


async def test_job_that_is_still_ready_after_its_try_is_tried_again() -> None:
    async with dispatching() as (dispatch, attempts):
        ref = JobRef("e1", "main")
        dispatch.ready.add(ref, SMALL)
        dispatch.wake()
        for answer in (True, True, False):
            assert await attempts.started.get() == ref
            attempts.answers.put_nowait(answer)
        await asyncio.wait(dispatch.in_flight.tasks.values())
        await asyncio.sleep(0)  # lets the end of the task be noted
        assert not dispatch.in_flight and not dispatch.ready and not dispatch.slots.in_use


async def test_job_that_arrives_again_while_in_flight_waits_for_its_try_to_end() -> None:
    async with dispatching() as (dispatch, attempts):
        ref = JobRef("e1", "main")
        dispatch.ready.add(ref, SMALL)
        dispatch.wake()
        await attempts.started.get()
        dispatch.ready.add(ref, SMALL)
        dispatch.ready.add(JobRef("e2", "main"), SMALL)
        dispatch.wake()
        assert await attempts.started.get() == JobRef("e2", "main")
        attempts.answers.put_nowait(False)
        attempts.answers.put_nowait(False)
        assert await attempts.started.get() == ref
        attempts.answers.put_nowait(False)


async def test_queue_that_is_low_again_at_the_end_of_its_read_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No try ends in the meantime, which would wake the dispatch too."""
    async with dispatching() as (dispatch, _):
        begun = 0
        done = asyncio.Event()
        ready = dispatch.ready

        async def read(part: Slice, queue: str | None = None) -> int:
            nonlocal begun
            begun += 1
            ready.begin_read(queue)
            if begun < 3:
                ready.read_failed({"main"})  # there is more in etcd, and few names are left here
            else:
                done.set()
            return 1

        monkeypatch.setattr(dispatch._feed, "read", read)
        ready.read_failed({"main"})
        dispatch.wake()
        await done.wait()
        assert not ready.to_read


async def test_read_that_crashes_ends_the_dispatch_with_its_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with dispatching() as (dispatch, _):

        async def broken(*_: object) -> int:
            raise RuntimeError("a fault of ours")

        monkeypatch.setattr(dispatch._feed, "read", broken)
        dispatch.ready.read_failed({"main"})
        with pytest.raises(RuntimeError, match="a fault of ours"):
            await dispatch.run()
