"""Since when sources send: the first use counts, unless an operator says something else."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from babygun.runtime.clock import utc_now
from babygun.runtime.tasks import cancel_all
from babygun.store.warm_ups.sources import (
    KnownSources,
    Source,
    begin,
    begin_again,
    list_sources,
    read_source,
    skip,
)
from tests.support.processes import PATIENCE
from tests.support.rig import Rig


async def test_first_use_counts_of_all_workers(rig: Rig) -> None:
    now = utc_now()
    first = await begin(rig.store, "192.0.2.7", now)
    assert first.source.began == now.date()
    assert await begin(rig.store, "192.0.2.7", now + timedelta(days=2)) == first
    assert await read_source(rig.store, "192.0.2.7") == first.source
    assert await read_source(rig.store, "192.0.2.8") is None


async def test_operator_skips_a_warm_up_and_begins_it_again(rig: Rig) -> None:
    long_ago = utc_now() - timedelta(days=9)
    await begin(rig.store, "2001:db8::7", long_ago)
    skipped = await skip(rig.store, "2001:db8::7", by="operator ops")
    assert (skipped.began, skipped.skipped, skipped.set_by) == (
        long_ago.date(),
        True,
        "operator ops",
    )
    before = utc_now()
    again = await begin_again(rig.store, "2001:db8::7", by="operator ops")
    assert before.date() <= again.began <= utc_now().date() and not again.skipped
    assert await list_sources(rig.store) == [again]


async def test_worker_follows_the_sources_and_leaves_out_what_it_cannot_read(rig: Rig) -> None:
    changed: asyncio.Queue[str] = asyncio.Queue()
    known = KnownSources(rig.store, changed.put_nowait)
    await rig.store.client.put(rig.store.keys.warm_up_source("192.0.2.9"), b"by hand")
    following = asyncio.create_task(known.run())
    try:
        await known.complete.wait()
        assert not known.by_name
        await begin(rig.store, "example.com", utc_now())
        assert await asyncio.wait_for(changed.get(), PATIENCE) == "example.com"
        source: Source = known.by_name["example.com"].source
        assert not source.skipped
    finally:
        await cancel_all(following)
