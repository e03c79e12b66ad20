"""When new e-mails are refused since etcd is nearly full. With a full etcd: tests/api/emails."""

from __future__ import annotations

import logging

import pytest

from babygun.errors import EtcdUnavailable, OutOfSpace
from babygun.intake.quota_guard import QuotaGuard
from babygun.runtime.exposition import render
from babygun.store import Store
from babygun.store.upkeep.fullness import Fullness, Size
from babygun.store.upkeep.reserve import LEAST
from babygun.store.upkeep.shedding import MORE, RECORDS_ABOVE
from tests.support.rig import Rig
from tests.support.scraping import Scraped

MIB = 1 << 20
QUOTA = 1000 * MIB


class Etcd(Fullness):
    """What the guard learns of etcd, in MiB."""

    used, of_file, away = 0.0, 0.0, False

    async def measure(self) -> Size:
        if self.away:
            raise EtcdUnavailable
        size = Size(1.0, int(self.used * MIB), int(self.of_file * MIB), 1)
        self.add(size)
        return size


@pytest.fixture
def etcd(store: Store) -> Etcd:
    return Etcd(store.client, QUOTA)


@pytest.fixture
def guard(store: Store, etcd: Etcd) -> QuotaGuard:
    guard = QuotaGuard(store)
    guard._fullness = guard._reserve._fullness = etcd
    return guard


@pytest.mark.parametrize(
    ("used", "file", "full"),
    [(0, 0, False), (899, 960, False), (901, 960, True), (0, 985, True)],
)
async def test_emails_are_refused_above_either_limit(
    guard: QuotaGuard, etcd: Etcd, used: float, file: float, full: bool
) -> None:
    etcd.used, etcd.of_file = used, file
    await guard.measure()
    assert guard.full is full
    room = Scraped(render("api")[0].decode()).get("babygun_etcd_room_bytes")
    assert room is not None and (room == 0) is full


async def test_change_is_logged_once(
    guard: QuotaGuard, etcd: Etcd, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "babygun.api")
    for used in (500, 910, 920, 890, 500, 500):
        etcd.used = used
        await guard.measure()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "emails refused"),
        ("INFO", "emails accepted again"),
    ]


async def test_answer_stays_while_etcd_is_away(guard: QuotaGuard, etcd: Etcd) -> None:
    etcd.used = 960
    await guard.measure()
    etcd.away = True
    with pytest.raises(EtcdUnavailable):
        await guard.measure()
    assert guard.full


def given_out(guard: QuotaGuard, size: int) -> float:
    """MiB that the guard gives out to e-mails of this size until it refuses one."""
    count = 0
    with pytest.raises(OutOfSpace):
        while count < 100_000:
            guard.take(size)
            count += 1
    return count * size / MIB


async def test_batch_of_small_emails_is_no_large_email(guard: QuotaGuard, etcd: Etcd) -> None:
    etcd.used = 550
    await guard.measure()
    guard.take(*[1000] * 1000)
    await guard.measure()
    assert not guard.full and guard._reserve.share == LEAST


async def test_email_that_is_refused_takes_no_room_from_others(
    guard: QuotaGuard, etcd: Etcd
) -> None:
    """No worker makes room for it, since it is not stored: nothing would be accepted any more."""
    etcd.quota = 256 * MIB
    etcd.used = 0.89 * 256
    await guard.measure()
    with pytest.raises(OutOfSpace):
        guard.take(3_000_000)
    await guard.measure()
    assert not guard.full and guard._reserve.share == LEAST
    guard.take(1000)


@pytest.mark.parametrize("size", [0, 20_000, 100_000, 300_000, 1_000_000])
async def test_emails_are_accepted_again_once_workers_have_shed_what_they_may(
    guard: QuotaGuard, etcd: Etcd, size: int
) -> None:
    etcd.quota = 256 * MIB
    guard._reserve.note(size)
    etcd.used = 256
    await guard.measure()
    assert guard.full
    etcd.used = (RECORDS_ABOVE - MORE) * guard._reserve.usable * 256
    await guard.measure()
    assert not guard.full


async def test_emails_between_two_measurements_take_half_of_the_room_at_most(
    guard: QuotaGuard, etcd: Etcd
) -> None:
    etcd.used = 800
    await guard.measure()
    assert 35 < given_out(guard, 100_000) <= 50 and guard.full
    # etcd has not counted any of it yet.
    await guard.measure()
    assert not guard.full and given_out(guard, 100_000) < 10


async def test_room_is_shared_by_all_api_processes(guard: QuotaGuard, etcd: Etcd, rig: Rig) -> None:
    for number in range(4):
        await rig.store.client.put(rig.store.keys.api(f"api-{number}"), b"{}")
    etcd.used = 800
    await guard.measure()
    assert 8 < given_out(guard, 100_000) <= 12.5


async def test_email_that_needs_more_than_half_is_taken_if_it_comes_alone(
    guard: QuotaGuard, etcd: Etcd
) -> None:
    etcd.used = 840
    await guard.measure()
    guard.take(20 * MIB)
    with pytest.raises(OutOfSpace):
        guard.take(20 * MIB)


async def test_large_email_gets_in_beside_small_ones_and_keeps_none_of_them_out(
    guard: QuotaGuard, etcd: Etcd, rig: Rig
) -> None:
    """It needs more than half of the process's share, and small ones come all the time."""
    for number in range(3):
        await rig.store.client.put(rig.store.keys.api(f"api-{number}"), b"{}")
    etcd.used = 500
    for _ in range(3):
        await guard.measure()
        for _ in range(20):
            guard.check()
            guard.take(1000)
    guard.take(50 * MIB)
    etcd.used += 2.3 * 50
    for _ in range(3):
        for _ in range(20):
            guard.check()
            guard.take(1000)
        await guard.measure()
    with pytest.raises(OutOfSpace, match="larger quota"):
        guard.take(100 * MIB)
    guard.check()
    guard.take(1000)
