"""Which limits hold now: a key for shared sites, this worker's memory for the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from babygun.email.tries import RecipientResult
from babygun.routing.providers import Limits, Rate
from babygun.runtime.clock import utc_now
from babygun.store.sites import steering
from babygun.store.sites.limits import list_limits
from babygun.worker.sites import adaptation
from babygun.worker.sites.adapting import Adapting
from tests.support.processes import PATIENCE
from tests.support.rig import Rig
from tests.worker.sites.senders import shared_site

TABLE = Limits(8, 100, Rate(100, 1.0))
SHARED = shared_site(TABLE)
LOCAL = SHARED._replace(name="mx:mx1.example.org", shared=False)
BUSY = RecipientResult("retry", "too_many_connections", 421, "4.7.0", "too many")


class News(Adapting):
    """Those of one worker, and the sites of which something has changed."""

    changed: asyncio.Queue[str]


@asynccontextmanager
async def worker(rig: Rig, worker_id: str = "w1") -> AsyncIterator[News]:
    changed: asyncio.Queue[str] = asyncio.Queue()
    one = News(
        rig.store, worker_id=lambda: worker_id, workers=lambda: 2, changed=changed.put_nowait
    )
    one.changed = changed
    following = asyncio.create_task(one.run())
    try:
        async with asyncio.timeout(PATIENCE):
            yield one
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await one.close()


@pytest.fixture
def quick_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptation, "STEP_AFTER", 0.0)
    monkeypatch.setattr(adaptation, "STEP_SUCCESSES", 1)


async def test_shared_site_is_slowed_for_all_workers(rig: Rig) -> None:
    async with worker(rig, "w1") as one, worker(rig, "w2") as two:
        one.halve(SHARED, "connections", BUSY)
        one.halve(SHARED, "connections", BUSY)  # of the same burst
        assert await one.changed.get() == await two.changed.get() == SHARED.name
        assert one.of(SHARED) == two.of(SHARED) == Limits(4, 100, Rate(100, 1.0))
        (lowered,) = await list_limits(rig.store)
        assert (lowered.set_by, lowered.reason, lowered.status_reason) == (
            "w1",
            "too_many_connections",
            "too many",
        )


async def test_shared_site_goes_up_by_steps_and_its_key_ends_at_the_ceiling(
    rig: Rig, quick_steps: None
) -> None:
    async with worker(rig, "w1") as one:
        one.slow(SHARED, Limits(6, 100, Rate(100, 1.0)), 3600.0, BUSY)
        await one.changed.get()
        while one.of(SHARED).connections < 7:
            one.succeeded(SHARED)
            await asyncio.sleep(0.01)
        (lowered,) = await list_limits(rig.store)
        assert lowered.until > utc_now() + timedelta(minutes=50), "the table's time stays"
        while one.of(SHARED) != TABLE:
            one.succeeded(SHARED)
            await asyncio.sleep(0.01)
        assert await list_limits(rig.store) == []


async def test_other_sites_are_slowed_here_alone_and_end_in_time(rig: Rig) -> None:
    async with worker(rig, "w1") as one:
        one.halve(LOCAL, "rate", BUSY)
        assert await one.changed.get() == LOCAL.name
        assert one.whole(LOCAL).rate == Rate(50, 1.0)
        assert one.of(LOCAL) == Limits(4, 100, Rate(50, 2.0)), "its part of two"
        assert await list_limits(rig.store) == []
        one.look(time.monotonic() + adaptation.LASTS)
        assert one.whole(LOCAL) == TABLE


async def test_tables_reply_lasts_as_long_as_it_says_also_after_a_smaller_one(rig: Rig) -> None:
    async with worker(rig, "w1") as one:
        one.slow(LOCAL, Limits(1, 100, Rate(1, 60.0)), 3 * adaptation.LASTS, BUSY)
        one.slow(LOCAL, Limits(1, 1, Rate(1, 60.0)), 60.0, BUSY)
        one.look(time.monotonic() + 2 * adaptation.LASTS)
        assert one.whole(LOCAL) == Limits(1, 1, Rate(1, 60.0))


async def test_site_begins_slowly_after_a_hold_and_goes_up_to_its_ceiling(
    rig: Rig, quick_steps: None
) -> None:
    async with worker(rig, "w1") as one:
        one.recovered(LOCAL.name)
        assert one.whole(LOCAL) == Limits(1, 100, Rate(1, 1.0))
        steps = 0
        while one.whole(LOCAL) != TABLE:
            one.succeeded(LOCAL)
            steps += 1
        assert steps == 7
        one.begin_slowly(SHARED, BUSY)
        while one.of(SHARED) == TABLE:
            await one.changed.get()
        assert one.of(SHARED) == Limits(1, 100, Rate(1, 1.0))


async def test_operators_limits_hold_for_any_site_whatever_its_replies_say(
    rig: Rig, quick_steps: None
) -> None:
    async with worker(rig, "w1") as one:
        for site in (SHARED, LOCAL):
            await steering.limit(
                rig.store,
                site.name,
                connections=20,
                rate="10/min",
                until=utc_now() + timedelta(hours=1),
                by="ann",
            )
            assert await one.changed.get() == site.name
            one.halve(site, "connections", BUSY)
            one.succeeded(site)
            assert one.whole(site) == Limits(20, 100, Rate(10, 60.0))
        assert {each.set_by for each in await list_limits(rig.store)} == {"ann"}
