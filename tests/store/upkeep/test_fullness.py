"""How full etcd will be, and when a compaction is worth it: decided from a series of sizes."""

from __future__ import annotations

import pytest

from babygun.errors import EtcdError
from babygun.etcd import EtcdClient
from babygun.runtime.settings import Settings
from babygun.store.upkeep import compaction
from babygun.store.upkeep.compaction import Compaction
from babygun.store.upkeep.fullness import Fullness, Size

MIB = 1 << 20
QUOTA = 256 * MIB


@pytest.fixture
def fullness(etcd: EtcdClient) -> Fullness:
    return Fullness(etcd, QUOTA)


def add(fullness: Fullness, *in_use: float, begin: float = 100.0, size: float = 0) -> None:
    """A size each second, in MiB; the revision is ten times the second."""
    for second, mib in enumerate(in_use):
        fullness.add(
            Size(
                begin + second,
                int(mib * MIB),
                int((size or max(in_use)) * MIB),
                int(10 * (begin + second)),
            )
        )


def test_fullness_that_grows_counts_what_will_be_written(fullness: Fullness) -> None:
    add(fullness, *range(0, 80, 8))
    assert fullness.growth == pytest.approx(8 * MIB)
    assert fullness.in_use == pytest.approx(72 / 256)
    assert fullness.expected(5) == pytest.approx((72 + 40) / 256)


def test_fullness_after_a_compaction_remembers_how_fast_it_grew(fullness: Fullness) -> None:
    add(fullness, *range(0, 80, 8), 30, 30, 30, 30)
    assert fullness.growth == pytest.approx(8 * MIB) and fullness.in_use == pytest.approx(30 / 256)
    add(fullness, *[30.0] * 62, begin=114)
    assert fullness.growth == 0


def test_fullness_in_a_burst_is_expected_to_grow_by_a_part_of_the_quota_at_most(
    fullness: Fullness,
) -> None:
    add(fullness, 0, 0, 0, 200)
    assert fullness.expected(60) == pytest.approx(200 / 256 + 0.35)


def test_fullness_of_one_size_expects_what_is_there(fullness: Fullness) -> None:
    assert fullness.expected(5) == fullness.in_use == fullness.file == 0
    add(fullness, 128, size=192)
    assert fullness.expected(5) == fullness.in_use == 0.5 and fullness.file == 0.75


async def test_fullness_asks_etcd_and_fails_where_no_member_answers(
    fullness: Fullness, etcd: EtcdClient
) -> None:
    before = await etcd.put(b"/now", b"")
    size = await fullness.measure()
    assert size.file >= size.in_use > 0 and size.revision >= before and fullness.quota != QUOTA, (
        "etcd told its own quota"
    )
    dead = EtcdClient(["http://127.0.0.1:1"], timeout=0.3)
    async with dead:
        with pytest.raises(EtcdError):
            await Fullness(dead, QUOTA).measure()


async def test_revision_before_is_the_newest_that_is_old_enough(fullness: Fullness) -> None:
    assert fullness.revision_before(3) == 0
    add(fullness, 1, 1, 1, 1, 1)
    assert fullness.revision_before(3) == 1010 and fullness.revision_before(5) == 0


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


def test_compaction_of_a_large_store_is_due_more_seldom(etcd: EtcdClient) -> None:
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
    await etcd.compact(revision, timeout=5)
