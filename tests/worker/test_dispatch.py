"""Dispatch: what is started when, with tries and reads that the test decides on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from babygun.consumer.pause import GrowingPause
from babygun.consumer.slices import Slice
from babygun.email.model import Job
from babygun.routing.providers import load_providers
from babygun.routing.sites import Site, site_of_relay
from babygun.runtime.settings import Settings
from babygun.smtp.replies import Reply
from babygun.store.keys import JobRef
from babygun.worker.attempt import Attempt
from babygun.worker.dispatch import Dispatch
from babygun.worker.lookups import MOST_LOOKUPS
from tests.support.processes import PATIENCE

SMALL = Job(size=1, recipients=1)


class FakeAttempts:
    """Tries that end with what the test puts into ``answers``; ``started`` has their jobs."""

    def __init__(self) -> None:
        self.pause, self.stopping = GrowingPause(), False
        self.started: asyncio.Queue[JobRef] = asyncio.Queue()
        self.answers: asyncio.Queue[bool] = asyncio.Queue()

    async def run(self, attempt: Attempt) -> bool:
        self.started.put_nowait(attempt.ref)
        return await self.answers.get()


class NoHolds:
    """No site is held."""

    known = True

    def due(self) -> list[str]:
        return []


class FreeSites:
    """Sites that take all, but for the mail of ``held`` senders."""

    def __init__(self) -> None:
        self.holds, self.held = NoHolds(), set[str]()
        self.in_flight: Counter[str] = Counter()

    def obstacle(self, site: Site) -> None:
        return None

    def sender_held(self, site: str, sender: str) -> bool:
        return sender in self.held

    def started(self, site: Site) -> None:
        self.in_flight[site.name] += 1

    def ended(self, site: Site) -> None:
        self.in_flight[site.name] -= 1


async def not_looked_up(queue: str) -> Site:
    raise AssertionError(queue)


@asynccontextmanager
async def dispatching(
    site_of: Callable[[str], Site | None] | None = None,
    find_site: Callable[[str], Awaitable[Site]] = not_looked_up,
) -> AsyncIterator[tuple[Dispatch, FakeAttempts]]:
    """A dispatch that runs, with a lease and the whole slice; each queue is a relay."""
    attempts = FakeAttempts()
    store = SimpleNamespace(settings=Settings())
    identity = SimpleNamespace(trusted=True, process_id="w1")
    membership = SimpleNamespace(identity=identity, worker_id="w1", slice=Slice(0, 256))
    dispatch = Dispatch(
        cast(Any, store),
        cast(Any, membership),
        cast(Any, attempts),
        cast(Any, FreeSites()),
        kept=1,
        site_of=site_of or (lambda queue: site_of_relay(queue, None)),
        find_site=find_site,
        find_again=find_site,
        limit=lambda site: 100,
    )
    running = asyncio.create_task(dispatch.run())
    try:
        async with asyncio.timeout(PATIENCE):
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
        assert not dispatch.in_flight and not dispatch.ready and not dispatch.slots.by_label()


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
        mark_low(dispatch)

        async def read(part: Slice, queue: str | None, *, search: bool) -> int:
            nonlocal begun
            assert queue == "main" and not search
            begun += 1
            marks = dispatch.ready.begin_read(queue)
            if begun < 3:
                dispatch.ready.stop_read(queue, marks, failed=True)
            else:
                done.set()
            return 1

        monkeypatch.setattr(dispatch._feed, "read", read)
        dispatch.wake()
        await done.wait()
        assert not dispatch.ready.unread.to_read


async def test_read_that_crashes_ends_the_dispatch_with_its_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with dispatching() as (dispatch, _):

        async def broken(*_: object, **__: object) -> int:
            raise RuntimeError("a fault of ours")

        monkeypatch.setattr(dispatch._feed, "read", broken)
        mark_low(dispatch)
        with pytest.raises(RuntimeError, match="a fault of ours"):
            await dispatch.run()


def mark_low(dispatch: Dispatch) -> None:
    """The queue ``main`` has more jobs in etcd, and none are known."""
    ready = dispatch.ready
    refs = (JobRef(f"e{n}", "main") for n in range(10_000))
    while ready.add(next(refs), SMALL) is None:
        pass
    while ready.take(lambda site, job: None):
        pass
    assert [*ready.unread.to_read] == ["main"]


async def test_queue_whose_site_is_not_known_waits_until_it_is_looked_up() -> None:
    asked: asyncio.Queue[str] = asyncio.Queue()
    answer = asyncio.Event()

    def site_of(queue: str) -> Site | None:
        return None if queue.startswith("mx:") else site_of_relay(queue, None)

    async def find_site(queue: str) -> Site:
        asked.put_nowait(queue)
        await answer.wait()
        return site_of_relay("mx:host.test", None)

    async with dispatching(site_of, find_site) as (dispatch, attempts):
        for n, queue in enumerate(("mx:a.test", "mx:b.test", "mx:a.test", "main")):
            dispatch.ready.add(JobRef(f"e{n}", queue), SMALL)
        dispatch.wake()
        assert await attempts.started.get() == JobRef("e3", "main")
        assert [await asked.get(), await asked.get()] == ["mx:a.test", "mx:b.test"]
        assert attempts.started.empty() and dispatch.ready.by_label() == {"mx:unknown": 3}
        answer.set()
        started = [await attempts.started.get() for _ in range(3)]
        assert sorted(ref.email_id for ref in started) == ["e0", "e1", "e2"]
        assert dispatch.slots.by_label() == {"main": 1, "mx:host.test": 3}


async def test_lookups_of_sites_are_at_most_100_at_a_time() -> None:
    asked: list[str] = []
    full, go_on = asyncio.Event(), asyncio.Event()

    async def find_site(queue: str) -> Site:
        asked.append(queue)
        if len(asked) == MOST_LOOKUPS:
            full.set()
        await go_on.wait()
        return site_of_relay(queue, None)

    async with dispatching(lambda queue: None, find_site) as (dispatch, attempts):
        for n in range(250):
            dispatch.ready.add(JobRef(f"e{n}", f"mx:d{n}.test"), SMALL)
        dispatch.wake()
        await full.wait()
        for _ in range(10):
            dispatch.wake()
            await asyncio.sleep(0)
        assert len(asked) == MOST_LOOKUPS == 100
        go_on.set()
        for _ in range(250):
            await attempts.started.get()
        assert len(asked) == 250


async def test_job_of_a_held_sender_waits_until_the_hold_ends_and_others_go_on() -> None:
    async with dispatching() as (dispatch, attempts):
        sites = cast(FreeSites, dispatch._sites)
        sites.held.add("shop.test")
        dispatch.ready.add(JobRef("e1", "main"), Job(1, 1, sender="shop.test"))
        dispatch.ready.add(JobRef("e2", "main"), Job(1, 1, sender="other.test"))
        dispatch.wake()
        assert (await attempts.started.get()).email_id == "e2"
        sites.held.clear()
        dispatch.sender_may_go_on("main", "shop.test")
        assert (await attempts.started.get()).email_id == "e1"
        assert sites.in_flight == {"main": 2}
        attempts.answers.put_nowait(False)
        attempts.answers.put_nowait(False)
        await asyncio.wait(dispatch.in_flight.tasks.values())
        await asyncio.sleep(0)  # lets the ends of the tasks be noted
        assert not sites.in_flight.total()


async def test_tries_at_hosts_that_do_not_answer_leave_their_slots_to_others() -> None:
    provider = load_providers().default

    def site_of(queue: str) -> Site:
        return Site(queue, provider, provider.limits, shared=False)

    async with dispatching(site_of) as (dispatch, attempts):
        for n in range(600):
            dispatch.ready.add(JobRef(f"e{n}", f"mx:d{n}.test"), SMALL)
        dispatch.wake()
        for _ in range(500):
            await attempts.started.get()
        assert dispatch.slots.full and attempts.started.empty()
        await dispatch.look()
        assert dispatch.slots.full, "each has the time between two looks"
        await dispatch.look()
        for _ in range(100):
            await attempts.started.get()
        for _ in range(600):
            attempts.answers.put_nowait(False)
        await asyncio.wait(dispatch.in_flight.tasks.values())
        await asyncio.sleep(0)  # lets the ends of the tasks be noted
        assert not dispatch.in_flight and not dispatch.slots.by_label()


async def test_try_that_is_turned_away_by_another_site_makes_that_one_pause() -> None:
    old, new = site_of_relay("old", None), site_of_relay("new", None)
    async with dispatching({"x": old, "y": old}.get) as (dispatch, attempts):
        for crowded in (Reply("greeting", 421, "4.7.0", "Too many connections"), None):
            await moved_try(dispatch, attempts, new, crowded)
            paused = dispatch.slots.obstacle(new, SMALL)
            assert (paused == "limit") is (crowded is not None)
            assert dispatch.slots.obstacle(old, SMALL) is None


async def moved_try(
    dispatch: Dispatch, attempts: FakeAttempts, to: Site, crowded: Reply | None
) -> None:
    """A try that another site than its own took, or turned away."""
    dispatch.ready.add(JobRef("e1", "x"), SMALL)
    dispatch.wake()
    await attempts.started.get()
    [attempt] = dispatch.in_flight.tries()
    attempt.progress.site, attempt.crowded, attempt.claim = to, crowded, cast(Any, "some claim")
    await end_first(dispatch, attempts)


async def end_first(dispatch: Dispatch, attempts: FakeAttempts) -> None:
    attempts.answers.put_nowait(False)
    await asyncio.wait(dispatch.in_flight.tasks.values(), return_when="FIRST_COMPLETED")
    await asyncio.sleep(0)  # lets the end of the task be noted


async def test_queue_stays_at_its_newest_site_when_an_older_try_ends_elsewhere() -> None:
    sites = {name: site_of_relay(name, None) for name in ("old", "new", "newest")}
    known = {"x": sites["old"]}
    async with dispatching(known.get) as (dispatch, attempts):
        cast(FreeSites, dispatch._sites).held.add("shop.test")
        for n in range(2):
            dispatch.ready.add(JobRef(f"e{n}", "x"), SMALL)
        waiting = JobRef("e2", "x")
        dispatch.ready.add(waiting, Job(1, 1, sender="shop.test"))
        dispatch.wake()
        for _ in range(2):
            await attempts.started.get()
        first, second = dispatch.in_flight.tries()
        first.progress.site, second.progress.site = sites["newest"], sites["new"]
        known["x"] = sites["newest"]
        for _ in range(2):
            await end_first(dispatch, attempts)
            assert [ref for ref, _ in dispatch.ready.waiting_of("newest")] == [waiting]
