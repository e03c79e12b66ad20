"""Slices: which shards are a worker's."""

from __future__ import annotations

import itertools

from babygun.consumer.slices import NOTHING, Slice, slice_of
from babygun.intake.ids import new_email_id


def test_slices_of_live_workers_cover_all_shards_once() -> None:
    for n in (1, 2, 3, 7, 256):
        live = {f"w{k:03d}" for k in range(n)}
        slices = [slice_of(worker, live) for worker in sorted(live)]
        assert slices[0].first == 0 and slices[-1].end == 256
        assert all(a.end == b.first for a, b in itertools.pairwise(slices))


def test_slice_of_a_worker_that_is_not_live_is_nothing() -> None:
    assert slice_of("ghost", {"w1"}) == NOTHING and not NOTHING.holds(new_email_id())


def test_slice_with_more_workers_than_shards_leaves_some_idle() -> None:
    live = {f"w{k:03d}" for k in range(300)}
    assert sum(part.end - part.first for part in (slice_of(w, live) for w in live)) == 256


def test_slice_holds_the_ids_of_its_shards() -> None:
    assert Slice(0x80, 0x90).holds("01a21000-1b9b-7058-a863-be5a676c7d85") and not Slice(
        0, 0x80
    ).holds("01a21000-1b9b-7058-a863-be5a676c7d85")
