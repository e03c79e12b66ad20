"""Functions in threads, several in one hand-over."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from babygun.runtime.threads import Threads


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads(2, "test")
    yield threads
    threads.close()


async def test_results_and_errors_go_to_those_who_called(threads: Threads) -> None:
    def divide(by: int) -> float:
        return 60 / by

    calls = [threads.call(lambda by=by: divide(by)) for by in range(50)]
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(found[0], ZeroDivisionError)
    assert found[1:] == [60 / by for by in range(1, 50)]


async def test_functions_run_in_threads_as_many_as_there_are(threads: Threads) -> None:
    both = threading.Barrier(2, timeout=20)

    def meet() -> str:
        both.wait()
        return threading.current_thread().name

    names = set(await asyncio.gather(threads.call(meet), threads.call(meet)))
    assert len(names) == 2 and all(name.startswith("test") for name in names)


async def test_cancelled_call_leaves_the_threads_to_others(threads: Threads) -> None:
    began, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        go_on.wait(20)

    waiting = [asyncio.create_task(threads.call(wait)) for _ in range(5)]
    await asyncio.to_thread(began.wait, 20)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    go_on.set()
    assert await threads.call(lambda: "after") == "after"
