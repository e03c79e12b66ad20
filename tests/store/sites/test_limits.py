"""Limits of sites for a while: one compare wins, and all follow."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from babygun.email.tries import RecipientResult
from babygun.routing.providers import Limits, Rate
from babygun.runtime.clock import utc_now
from babygun.store.records import SomeLimits
from babygun.store.sites.limits import SharedLimits, end, list_limits, write, write_by_operator
from tests.support.processes import PATIENCE
from tests.support.rig import Rig

TABLE = Limits(10, 100, Rate(100, 1.0))
LESS = Limits(1, 100, Rate(10, 60.0))
REPLY = RecipientResult("retry", "rate_limit", 421, "4.7.28", "x" * 1000)


async def test_first_writer_wins_and_the_next_change_needs_its_revision(rig: Rig) -> None:
    store = rig.store

    async def lower(before: object, worker_id: str) -> object:
        return await write(
            store,
            "mx:a",
            LESS,
            reply=REPLY,
            lasts=60.0,
            worker_id=worker_id,
            before=before,  # type: ignore[arg-type]
        )

    both = await asyncio.gather(lower(None, "w1"), lower(None, "w2"))
    (kept,) = [one for one in both if one is not None]
    assert await lower(None, "w3") is None
    (lowered,) = await list_limits(store)
    assert (lowered.reason, lowered.status_code) == ("rate_limit", 421)
    assert len((lowered.status_reason or "").encode()) == 512
    assert lowered.instead_of(TABLE) == LESS
    again = await lower(kept, "w3")
    assert again is not None and await lower(kept, "w4") is None
    assert not await end(store, "mx:a", kept)  # type: ignore[arg-type]
    assert await end(store, "mx:a", again)  # type: ignore[arg-type]
    assert await list_limits(store) == [] and not await end(store, "mx:a")


async def test_operators_limits_may_be_higher_and_leave_the_others_as_they_are(rig: Rig) -> None:
    until = utc_now() + timedelta(hours=1)
    lowered = await write_by_operator(
        rig.store, "mx:a", SomeLimits(connections=20), reason="agreed", until=until, by="ann"
    )
    assert lowered.instead_of(TABLE) == Limits(20, 100, Rate(100, 1.0))
    assert (await list_limits(rig.store)) == [lowered]


async def test_limits_are_followed_and_a_key_put_by_hand_stops_nobody(rig: Rig) -> None:
    store = rig.store
    changed: asyncio.Queue[str] = asyncio.Queue()
    limits = SharedLimits(store, changed.put_nowait)
    kept = await write(store, "mx:a", LESS, reply=REPLY, lasts=60.0, worker_id="w", before=None)
    following = asyncio.create_task(limits.run())
    try:
        async with asyncio.timeout(PATIENCE):
            assert await changed.get() == "mx:a" and limits.by_name == {"mx:a": kept}
            await store.client.put(store.keys.limit("mx:b"), b"rubbish")
            await end(store, "mx:a")
            assert await changed.get() == "mx:a" and not limits.by_name
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
