"""What a worker learns of its slice by reading it."""

from __future__ import annotations

from babygun.worker.feed import Feed
from babygun.worker.ready import ReadyJobs
from babygun.worker.slices import NOTHING, Slice
from tests.rig import Rig


async def test_slice_that_was_lost_before_its_read_began_holds_nothing(rig: Rig) -> None:
    await rig.send("ann@example.org")
    ready = ReadyJobs(100)
    feed = Feed(rig.store, ready, (), lambda: None)
    assert await feed.read(NOTHING) == 0
    assert await feed.read(NOTHING, "main") == 0
    assert ready.count("main") == 0
    assert await feed.read(Slice(0, 256)) > 0
    assert ready.count("main") == 1
