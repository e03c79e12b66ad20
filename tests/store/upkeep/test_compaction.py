"""When a compaction is worth it."""

from __future__ import annotations

import pytest

from babygun.errors import EtcdError
from babygun.etcd import EtcdClient
from babygun.runtime.settings import Settings
from babygun.store.upkeep import compaction
from babygun.store.upkeep.compaction import Compaction
from babygun.store.upkeep.fullness import Fullness, Size
from tests.store.upkeep.sizes import MIB, QUOTA, add


def test_compaction_is_due_when_much_was_written_and_keeps_a_history(
    fullness: Fullness, etcd: EtcdClient
) -> None:
    due = Compaction(etcd, fullness, b"/probe")
    add(fullness, *[40.0] * 10)
    assert due.due(0) == 0
    add(fullness, *range(41, 91), begin=110)
    assert due.due(0) == 0, "50 MiB are not worth it, with a third of the quota in use"
    add(fullness, 91, 92, begin=160)
    assert due.due(0) == int(10 * (161 - compaction.HISTORY))


def test_compaction_is_due_sooner_where_the_quota_is_nearly_used(
    fullness: Fullness, etcd: EtcdClient
) -> None:
    due = Compaction(etcd, fullness, b"/probe")
    add(fullness, *[150.0] * 30)
    assert due.due(0) == 0
    add(fullness, 172, begin=130)
    assert due.due(0) == int(10 * (130 - compaction.SHORT_HISTORY))


def test_compaction_of_a_large_store_is_due_more_rarely(etcd: EtcdClient) -> None:
    fullness = Fullness(etcd, 8192 * MIB)
    due = Compaction(etcd, fullness, b"/probe")
    add(fullness, *[1000.0] * 30)
    assert due.due(0) == 0
    add(fullness, 1400, begin=130)
    assert due.due(0) == 0
    add(fullness, 1510, begin=131)
    assert due.due(0) > 0, "half of what was there before"


async def test_compaction_that_is_requested_comes_though_nothing_is_written(
    fullness: Fullness, etcd: EtcdClient
) -> None:
    due = Compaction(etcd, fullness, b"/probe")
    add(fullness, *[200.0] * 10)
    due.request(1000)
    now = due._requested_at
    assert due.due(now + 1) == 0 and due.due(now + 11) == 1060


async def test_compaction_forgets_what_was_before_and_is_not_repeated(
    settings: Settings, etcd: EtcdClient, etcd_prefix: str
) -> None:
    fullness = Fullness(etcd, QUOTA)
    mine = Compaction(etcd, fullness, b"/probe")
    revision = 0
    for _ in range(3):
        revision = await etcd.put(etcd_prefix.encode(), b"x")
    fullness.add(Size(100.0, 0, 0, revision))
    fullness.add(Size(100.0 + compaction.HISTORY, 0, 0, revision + 1))
    assert not mine.due(0)
    mine._low = -QUOTA  # as if so much had been written
    await mine.once()
    assert mine.compacted == revision
    with pytest.raises(EtcdError, match="compacted"):
        await etcd.get(etcd_prefix.encode(), revision=revision - 1)
    mine._low = -QUOTA
    assert mine.due(0) == 0
    await etcd.compact(revision, timeout=20)
