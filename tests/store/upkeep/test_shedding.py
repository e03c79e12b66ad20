"""The oldest leases go before etcd is full, and mail goes on."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from babygun.errors import EtcdError, EtcdUnavailable, OutcomeUnknown, OutOfSpace
from babygun.etcd.versions import COUNTED_QUOTA
from babygun.intake.quota_guard import QuotaGuard
from babygun.runtime.clock import utc_now
from babygun.store import Store
from babygun.store.emails.finish import finish
from babygun.store.keys import range_end
from babygun.store.upkeep import compaction, fullness, shedding
from babygun.store.upkeep.compaction import Compaction
from babygun.store.upkeep.fullness import Fullness, Size
from babygun.store.upkeep.reserve import Reserve
from babygun.store.upkeep.shedding import Shedding
from babygun.worker import duties
from tests.store.emails.steps import HARD, OK, claimed, pending
from tests.support.etcd_server import EtcdServer, needs_ability
from tests.support.invariants import check_invariants, snapshot
from tests.support.processes import PATIENCE
from tests.support.rig import Rig, changed, rig_for
from tests.support.scraping import scraped
from tests.support.smtp_server import MisbehavingServer


async def ended_leases(store: Store, *sizes: int) -> list[int]:
    """Retention leases of records with a key each, the oldest first, that hold so many bytes."""
    leases = []
    for number, size in enumerate(sizes):
        lease = await store.client.grant(600)
        await store.client.put(
            store.keys.retention(
                "emails", utc_now() - timedelta(hours=1) + timedelta(seconds=number), lease
            ),
            b"%d" % size if size else b"",
            lease,
        )
        leases.append(lease)
    return leases


async def left(store: Store) -> list[int]:
    prefix = store.keys.retention_kind("emails")
    return [
        store.keys.parse_retention(kv.key)[2]
        for kv in (await store.client.range(prefix, range_end(prefix))).kvs
    ]


class Fake(Fullness):
    """Sizes are given by the test; only the quota is real."""

    async def measure(self) -> Size:
        return self.sizes[-1]


async def test_shedding_takes_as_much_of_the_oldest_as_is_needed_and_waits_until_that_is_free(
    rig: Rig,
) -> None:
    store, quota = rig.store, 100_000_000
    fullness = Fake(store.client, quota)
    compaction = Compaction(store.client, fullness, store.keys.cluster)
    shedding = Shedding(store, fullness, compaction)
    records = await ended_leases(store, *[2_000_000] * 6)
    fullness.add(Size(100.0, 84_000_000, 90_000_000, 1000))
    assert await shedding.once() == pytest.approx(0.84) and await left(store) == records
    fullness.add(Size(101.0, 89_000_000, 90_000_000, 1010))
    await shedding.once()
    assert await left(store) == records[3:], (
        "4 MB are too much, and a percent of the quota goes besides"
    )
    fullness.add(Size(102.0, 90_000_000, 90_000_000, 1020))
    await shedding.once()
    assert await left(store) == records[3:], "what went is not free yet"
    compaction.compacted = 1010
    await shedding.once()
    assert not await left(store)
    records = await ended_leases(store, *[2_000_000] * 6)
    fullness.add(Size(102.5, 93_000_000, 93_000_000, 1030))
    await shedding.once()
    assert await left(store) == records[3:], (
        "8 % above the mark and 3 % for the file that is near the quota, less what is not free yet"
    )


@pytest.mark.parametrize("answered", [True, False])
async def test_shedding_that_etcd_breaks_off_does_not_take_the_same_amount_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    """Of nine leases, eight go together. etcd fails at the ninth."""
    store, revoke = rig.store, rig.store.client.revoke
    fullness = Fake(store.client, 100_000_000)
    compaction = Compaction(store.client, fullness, store.keys.cluster)
    shedding = Shedding(store, fullness, compaction)
    records = await ended_leases(store, *[500_000] * 30)
    for at, revision in ((90.0, 1009), (101.0, 1010)):
        fullness.add(Size(at, 89_000_000, 89_000_000, revision))

    async def broken(lease_id: int) -> None:
        if lease_id == records[8] and answered:
            raise EtcdUnavailable
        await revoke(lease_id)
        if lease_id == records[8]:
            raise OutcomeUnknown

    with monkeypatch.context() as patch:
        patch.setattr(store.client, "revoke", broken)
        with pytest.raises(EtcdError):
            await shedding.once()
    assert shedding.shed["emails"] == 8
    await shedding.once()
    assert (await left(store))[-21:] == records[9:], "4 MB, and a percent, are on their way"
    assert compaction.due(time.monotonic() + 60) == 1009, "their space is asked for"
    compaction.compacted = 1010
    await shedding.once()
    assert len(await left(store)) < 21, "the revision has become known meanwhile"


class Silent(Fake):
    """It does not say how full it is, as often as a test wants."""

    answers = 1

    async def measure(self) -> Size:
        self.answers -= 1
        if not self.answers:
            raise EtcdUnavailable("no answer to the test")
        return await super().measure()


async def test_shedding_that_etcd_does_not_measure_afterwards_counts_all_the_same(
    rig: Rig,
) -> None:
    store = rig.store
    fullness = Silent(store.client, 100_000_000)
    compaction = Compaction(store.client, fullness, store.keys.cluster)
    shedding = Shedding(store, fullness, compaction)
    shedding.reserve = Reserve(store, Fake(store.client, 1 << 40))
    records = await ended_leases(store, *[2_000_000] * 6)
    fullness.add(Size(101.0, 89_000_000, 90_000_000, 1010))
    fullness.answers = 2
    with pytest.raises(EtcdUnavailable):
        await shedding.once()
    assert await left(store) == records[3:]
    await shedding.once()
    assert await left(store) == records[3:], "what went is not free yet"
    compaction.compacted = 1010
    await shedding.once()
    assert not await left(store)


async def test_shedding_deletes_the_oldest_contents_of_final_emails_and_no_others(
    rig: Rig,
) -> None:
    """The record of a failed e-mail stays, and its content goes only where room is very short."""
    delivered, failed, waiting = [
        await rig.send("ann@example.org", body="x" * 100_000) for _ in range(3)
    ]
    await finish(rig.store, [pending(await claimed(rig, delivered), OK)])
    await finish(rig.store, [pending(await claimed(rig, failed), HARD)])
    fullness = Fake(rig.store.client, 1_000_000)
    shedding = Shedding(
        rig.store, fullness, Compaction(rig.store.client, fullness, rig.store.keys.cluster)
    )
    shedding.reserve = Reserve(rig.store, Fake(rig.store.client, 1 << 40))
    fullness.add(Size(100.0, 720_000, 720_000, 1))
    await shedding.once()
    assert set((await check_invariants(rig.store)).chunks) == {failed, waiting}
    fullness.add(Size(101.0, 1_000_000, 1_000_000, 1))
    await shedding.once()
    seen = await check_invariants(rig.store)
    assert list(seen.chunks) == [waiting] and len(seen.emails) == 3
    assert shedding.shed == {"contents": 2, "notices": 0, "emails": 0}


async def test_shedding_spares_a_lease_that_is_still_being_filled(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shedding, "_FILLING", timedelta(minutes=5))  # however slow this is
    fullness = Fake(rig.store.client, 1_000_000)
    lease = await rig.store.record_leases.lease(1)
    fullness.add(Size(100.0, 990_000, 990_000, 1))
    full = Shedding(
        rig.store,
        fullness,
        Compaction(rig.store.client, fullness, rig.store.keys.cluster),
    )
    await full.once()
    assert await left(rig.store) == [lease] and full.shed == {
        "contents": 0,
        "notices": 0,
        "emails": 0,
    }


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room is made within a second, in small parts."""
    for module, name, value in (
        (duties, "_UPKEEP_INTERVAL", 0.1),
        (fullness, "_SPAN", 0.3),
        (compaction, "HISTORY", 0.3),
        (compaction, "SHORT_HISTORY", 0.2),
        (compaction, "_LEAST", 1 << 20),
        (shedding, "_FILLING", timedelta(seconds=0.1)),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.mark.timeout(300)  # 70 MB of mail; a busy machine takes a minute
async def test_worker_keeps_a_small_etcd_going_and_touches_no_incomplete_email(
    rig: Rig, quick: None
) -> None:
    quota, before = 64 << 20, scraped("worker")

    def shed_contents() -> float:
        return scraped("worker").since(before, "babygun_shed_total", kind="contents")

    with EtcdServer(
        f"--quota-backend-bytes={quota}", fsync=False
    ) as server:  # which compacts nothing by itself
        async with (
            rig_for(
                changed(
                    rig.settings,
                    etcd_endpoints=(server.endpoint,),
                    etcd_quota=quota,  # an etcd before 3.6 does not report its own
                    retry_intervals=(600.0,),
                )
            ) as own,
            own.worker(),
        ):
            waiting = await asyncio.gather(
                *(own.send("soft@example.org", body="w" * 100_000) for _ in range(20))
            )
            for email_id in waiting:
                await own.logged(email_id, "deferred")
            sent, guard = 0, QuotaGuard(own.store)
            while sent < 1.1 * quota:
                await guard.measure()
                if guard.full:  # the API refuses mail until workers have made room
                    await asyncio.sleep(0.05)
                    await own.store.client.put(b"/beat", b"")  # etcd counts its free pages then
                    continue
                await asyncio.gather(
                    *(own.send(f"r{n}@example.org", body="x" * 400_000) for n in range(8))
                )
                # Not by their records: those may go at once.
                await own.emptied(own.store.keys.jobs, within=60)
                sent += 8 * 400_000
            seen = await check_invariants(own.store)
            assert set(waiting) <= set(seen.emails) and set(waiting) <= set(seen.chunks)
            assert len(seen.chunks) < 20 + sent / 400_000
            async with asyncio.timeout(PATIENCE):  # a moment after the contents are gone
                while not shed_contents():  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert not await own.store.client.alarms()


@needs_ability(COUNTED_QUOTA)
async def test_etcd_that_is_full_refuses_new_mail_and_lets_the_rest_drain(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    server = EtcdServer("--quota-backend-bytes=8000000", fsync=False).start()
    try:
        async with rig_for(changed(rig.settings, etcd_endpoints=(server.endpoint,))) as own:
            accepted = []
            with pytest.raises(OutOfSpace):
                for _ in range(1000):
                    accepted.append(await own.send("ann@example.org", body="x" * 300_000))
            seen = await snapshot(own.store)
            assert set(accepted) == set(seen.emails), "what was refused has left nothing behind"
            assert await own.store.client.alarms() == ["NOSPACE"]
            assert range_end(own.store.keys.prefix) > own.store.keys.prefix
    finally:
        server.stop()


@pytest.fixture
def full(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Shedding:
    """It sheds even the lease that is being filled."""
    fullness = Fake(rig.store.client, 1_000_000)
    fullness.add(Size(100.0, 900_000, 900_000, 1))
    monkeypatch.setattr(shedding, "_FILLING", timedelta(0))
    compaction = Compaction(rig.store.client, fullness, rig.store.keys.cluster)
    return Shedding(rig.store, fullness, compaction)


async def _fail(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org", body="x" * 100_000)
    await finish(rig.store, [pending(await claimed(rig, email_id), HARD)])


async def test_shedding_of_records_leaves_no_content_without_its_record(
    rig: Rig, full: Shedding
) -> None:
    """One lease has the records of many e-mails. The oldest contents alone would be fewer."""
    for _ in range(3):
        await _fail(rig)
    waiting = await rig.send("ann@example.org")
    await full._shed_leases("emails", 1.0, 0.9)
    seen = await check_invariants(rig.store)
    assert list(seen.emails) == list(seen.chunks) == [waiting]
    assert not seen.ends


async def test_email_that_becomes_final_while_its_lease_is_shed_leaves_no_content(
    rig: Rig, full: Shedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old contents are gone by then. Its record still comes on the lease, and goes with it."""
    client = rig.store.client
    revoke = client.revoke

    async def late(lease_id: int) -> None:
        await _fail(rig)
        await revoke(lease_id)

    await _fail(rig)
    monkeypatch.setattr(client, "revoke", late)
    await full._shed_leases("emails", 1.0, 0.9)
    seen = await check_invariants(rig.store)
    assert not seen.emails and not seen.chunks and not seen.ends
