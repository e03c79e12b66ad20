"""The counts of warm-ups in etcd: all workers together never take more than a ceiling."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta

import pytest

from babygun.errors import EtcdError
from babygun.runtime.clock import utc_now
from babygun.store import Store
from babygun.store.upkeep.ending import Ending
from babygun.store.warm_ups.counts import Counts, DayCount, Taken, change, read_counts, take
from babygun.store.warm_ups.sources import KeptSource, Source, begin, begin_again
from tests.support.rig import Rig, rig_for

DAY = date(2026, 11, 25)
OLD = KeptSource(Source(source="192.0.2.7", began=DAY, set_at=utc_now()), 0)  # by the settings
SITE = "mx:google"


async def taken(
    store: Store, *, ceiling: int, wanted: int = 1, source: KeptSource = OLD, **fields: object
) -> Taken:
    return await take(
        store,
        source,
        SITE,
        DAY,
        ceiling=ceiling,
        wanted=wanted,
        workers=2,
        **fields,  # type: ignore[arg-type]
    )


async def counts(rig: Rig, source: str = "192.0.2.7") -> dict[str, Counts]:
    return await read_counts(rig.store, source, first=[], most=10)


async def test_workers_that_take_at_once_take_the_whole_ceiling_and_no_more(rig: Rig) -> None:
    async def worker(store: Store) -> int:
        total, known = 0, None
        while (got := await taken(store, ceiling=400, known=known)).recipients:
            total, known = total + got.recipients, got.kept
        return total

    async with rig_for(rig.settings) as other:
        stores = [rig.store, rig.store, other.store, other.store]
        assert sum(await asyncio.gather(*map(worker, stores))) == 400
    assert (await counts(rig))[SITE].on(DAY) == DayCount(400, 0)


async def test_what_is_given_back_can_be_taken_again(rig: Rig) -> None:
    assert (await taken(rig.store, ceiling=10, wanted=10)).recipients == 10
    full = await taken(rig.store, ceiling=10)
    assert full.recipients == 0
    await change(rig.store, "192.0.2.7", SITE, DAY, given_back=4, put_off=7)
    again = await taken(rig.store, ceiling=10, wanted=10, known=full.kept)
    assert again.recipients == 4, "what it knows is old, so it looks again"
    assert again.kept.counts.on(DAY) == DayCount(10, 7)


async def test_days_and_sites_have_counts_of_their_own(rig: Rig) -> None:
    for day, site in ((DAY, SITE), (DAY + timedelta(days=1), SITE), (DAY, "mx:mx.a.example")):
        got = await take(rig.store, OLD, site, day, ceiling=5, wanted=5, workers=1)
        assert got.recipients == 5
    found = await counts(rig)
    assert found.keys() == {SITE, "mx:mx.a.example"}
    assert set(found[SITE].days) == {DAY, DAY + timedelta(days=1)}
    first = await read_counts(rig.store, "192.0.2.7", first=["mx:mx.a.example"], most=1)
    assert list(first) == ["mx:mx.a.example"]


def test_days_that_are_too_old_are_left_out() -> None:
    kept = Counts().plus(DAY, 5, 0).plus(DAY + timedelta(days=30), 6, 0)
    assert len(kept.days) == 2
    assert list(kept.plus(DAY + timedelta(days=31), 7, 0).days) == [
        DAY + timedelta(days=30),
        DAY + timedelta(days=31),
    ]


async def test_nothing_is_taken_by_a_warm_up_that_has_changed(rig: Rig) -> None:
    kept = await begin(rig.store, "example.com", utc_now())
    assert (await taken(rig.store, ceiling=10, source=kept)).recipients
    await begin_again(rig.store, "example.com", by="operator ops")
    got = await taken(rig.store, ceiling=10, source=kept)
    assert (got.recipients, got.changed) == (0, True)


async def test_counts_that_cannot_be_read_begin_again(rig: Rig) -> None:
    key = rig.store.keys.warm_up_counts("192.0.2.7", SITE)
    await rig.store.client.put(key, b"by hand")
    assert (await taken(rig.store, ceiling=3, wanted=3)).recipients == 3


async def test_counts_are_on_a_lease_that_nothing_ends_early(rig: Rig) -> None:
    await taken(rig.store, ceiling=3)
    kv = await rig.store.client.get(rig.store.keys.warm_up_counts("192.0.2.7", SITE))
    assert kv is not None and kv.lease
    assert await rig.store.client.granted(kv.lease) == 32 * 86400
    await Ending(rig.store, "worker").once()
    assert await counts(rig)


async def test_lease_that_is_gone_is_not_used_again(rig: Rig) -> None:
    await taken(rig.store, ceiling=30)
    kv = await rig.store.client.get(rig.store.keys.warm_up_counts("192.0.2.7", SITE))
    assert kv is not None
    await rig.store.client.revoke(kv.lease)
    with pytest.raises(EtcdError):
        await taken(rig.store, ceiling=30)
    assert (await taken(rig.store, ceiling=30)).recipients
