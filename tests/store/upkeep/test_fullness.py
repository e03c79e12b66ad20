"""How full etcd is and will be, decided from a series of sizes."""

from __future__ import annotations

import pytest

from babygun.errors import EtcdError
from babygun.etcd import EtcdClient
from babygun.store.upkeep.fullness import Fullness
from tests.store.upkeep.sizes import MIB, QUOTA, add


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
    assert size.file >= size.in_use > 0 and size.revision >= before
    said = (await etcd.status()).quota  # not before etcd 3.6
    assert fullness.quota == said or not said
    dead = EtcdClient(["http://127.0.0.1:1"], timeout=0.3)
    async with dead:
        with pytest.raises(EtcdError):
            await Fullness(dead, QUOTA).measure()


async def test_revision_before_is_the_newest_that_is_old_enough(fullness: Fullness) -> None:
    assert fullness.revision_before(3) == 0
    add(fullness, 1, 1, 1, 1, 1)
    assert fullness.revision_before(3) == 1010 and fullness.revision_before(5) == 0
