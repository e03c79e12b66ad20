"""Workers and etcd that die, pause and come back, in processes of their own.

Nothing acknowledged is lost in any of these faults.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

from babygun.consumer.pause import GrowingPause
from babygun.email import lifecycle
from babygun.errors import Conflict, OutOfSpace
from babygun.etcd import EtcdClient, Txn, put
from babygun.etcd.versions import COUNTED_QUOTA
from babygun.runtime.clock import utc_now
from babygun.store import codec
from babygun.store.cluster.checkin import Identity
from babygun.store.emails import finish
from babygun.store.emails.acceptance import accept
from babygun.store.emails.new_email import prepare
from babygun.store.emails.on_request import cancel, retry
from babygun.store.emails.write_loop import write_change
from babygun.store.keys import JobRef
from babygun.store.records import Owner
from babygun.worker import timers
from babygun.worker import worker as worker_module
from tests.support.counting import Count
from tests.support.etcd_server import EtcdServer, needs_ability
from tests.support.invariants import check_invariants
from tests.support.processes import PATIENCE
from tests.support.proxy import proxy_to
from tests.support.rig import (
    LONG_LEASE,
    SHORT_LEASE,
    Rig,
    WorkerProcess,
    changed,
    rig_for,
    wide_relays,
)
from tests.support.smtp_server import MisbehavingServer
from tests.support.tries import failed_softly


async def draining(rig: Rig, worker: WorkerProcess) -> None:
    """Waits until a worker's record says that it drains."""
    key = rig.store.keys.worker(worker.id)
    await rig.written(key, b'"draining":true')


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Count:
    """Counts the pauses that unanswered claims begin."""
    begun, unanswered = Count(), GrowingPause.unanswered

    def counted(pause: GrowingPause, now: float) -> float:
        length = unanswered(pause, now)
        if length:
            begun.add()
        return length

    monkeypatch.setattr(GrowingPause, "unanswered", counted)
    return begun


async def test_worker_killed_while_sending_is_replaced_as_soon_as_its_lease_ends(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    """The end of the lease is the only signal: nobody reads all jobs again here."""
    released = smtp.hang_once("ann@example.org")
    async with rig.worker_process(lease_ttl=LONG_LEASE) as first:
        email_id = await rig.send("ann@example.org")
        await smtp.hung.wait()
        async with rig.worker_process(reconcile_interval=600.0) as second:
            await rig.shares(second.id)  # else it would not see the first one go
            first.kill()
            await rig.bury(first)
            [email] = await rig.ended(email_id)
            released.set()
            assert email.status == "complete" and email.worker_id == second.id
            entries = await rig.log(email_id)
            assert [e.event for e in entries] == ["accepted", "reclaimed", "delivered"]
            assert entries[1].previous_worker_id == first.id and entries[1].worker_id == second.id
            copies = [m for m in smtp.messages if m.recipients == ("ann@example.org",)]
            assert len(copies) == 1
            await check_invariants(rig.store)


async def test_queues_of_a_dead_worker_are_taken_over_though_all_are_of_one_email(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    addresses = [f"ann@d{number}.example" for number in range(40)]
    under_way, released = Count(), asyncio.Event()

    async def hangs_once(attempt: int) -> str:
        if attempt == 1:
            under_way.add()
            await released.wait()
        return ""

    smtp.rcpt |= dict.fromkeys(addresses, hangs_once)
    relays = wide_relays(40, smtp.url)
    async with (
        rig_for(changed(rig.settings, relays=relays)) as many,
        many.worker_process(lease_ttl=LONG_LEASE) as first,
    ):
        email_id = await many.send(*addresses)
        await under_way.reached(40)  # else the second worker's tries would be the first ones
        async with many.worker() as second:
            # Else it would not see it go.
            await many.shares(second.membership.worker_id, "works@d1.example")
            first.kill()
            await many.bury(first)
            [email] = await many.ended(email_id)
            assert email.status == "complete"
            entries = await many.log(email_id)
            assert [e.event for e in entries].count("reclaimed") == 40
        released.set()
        await check_invariants(many.store)


async def test_worker_paused_past_its_lease_writes_nothing_when_it_wakes(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    released = smtp.hang_once("ann@example.org")
    async with rig.worker_process() as first:
        email_id = await rig.send("ann@example.org")
        await smtp.hung.wait()
        first.pause()  # at once, while it still has its lease
        async with rig.worker_process() as second:
            [email] = await rig.ended(email_id)
            assert email.worker_id == second.id and len(smtp.messages) == 1
            first.resume()
            # Now the server takes the first worker's recipient too. The message must not follow.
            released.set()
            back = await rig.seen(
                rig.store.keys.workers,
                lambda value: (
                    True
                    if b'"pid":%d,' % first.pid in value and first.id.encode() not in value
                    else None
                ),
            )
            assert back, "it registers again, under a new id"
            again = await rig.send("bob@example.org")
            await rig.ended(again)
        assert await first.terminate() == 0
        assert "lease not trusted" in first.log
    assert await rig.get(email_id) == email, "the record is as the second worker left it"
    assert Counter(m.recipients for m in smtp.messages) == {
        ("ann@example.org",): 1,
        ("bob@example.org",): 1,
    }
    await check_invariants(rig.store)


async def test_worker_that_gets_sigterm_finishes_what_is_in_flight_and_releases_the_rest(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    under_way, answers = Count(), asyncio.Event()

    async def slow(attempt: int) -> str:
        under_way.add()
        await answers.wait()
        return ""

    smtp.rcpt["slow@example.org"] = slow
    async with rig.worker_process(drain_timeout=15.0) as worker:  # the replies come within that
        slow_ones = [await rig.send("slow@example.org") for _ in range(5)]
        stuck = await rig.send("hang@example.org")
        await smtp.hung.wait()
        await under_way.reached(5)
        stopping = asyncio.create_task(worker.terminate())
        await draining(rig, worker)
        answers.set()
        assert await stopping == 0
    await rig.emptied(rig.store.keys.owners)
    seen = await check_invariants(rig.store)
    assert {seen.emails[email_id].status for email_id in slow_ones} == {"complete"}
    assert seen.emails[stuck].status == "incomplete" and seen.jobs == {JobRef(stuck, "main")}
    smtp.release()
    async with rig.worker():
        assert (await rig.ended(stuck))[0].tries == 1, "a released job has used no try"


async def test_idle_worker_that_gets_sigterm_waits_for_nothing(rig: Rig) -> None:
    async with rig.worker_process(drain_timeout=600.0) as worker:
        assert await worker.terminate() == 0


async def test_claim_that_took_effect_after_it_was_given_up_is_released(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    async with rig.worker(reconcile_interval=0.5) as worker:
        identity = worker.membership.identity
        assert identity is not None
        email_id = await rig.send("later@example.org", send_at=None)
        await rig.ended(email_id)
        smtp.messages.clear()
        # A job that the worker owns without knowing, as a claim leaves it that was given up.
        worker.dispatch.ready.clear()
        lost = await _claimed_behind_its_back(rig, worker.membership.worker_id, identity.lease_id)
        [email] = await rig.ended(lost)
        assert email.status == "complete" and len(smtp.messages) == 1
        await check_invariants(rig.store)


async def _claimed_behind_its_back(rig: Rig, worker_id: str, lease_id: int) -> str:
    email, content = rig.email("ann@example.org")
    new = prepare(rig.store, email, content)
    owner = put(
        rig.store.keys.owner(JobRef(email.id, "main")),
        codec.encode_state(Owner(worker_id, utc_now())),
        lease_id,
    )
    await rig.store.client.txn(Txn([], [*new.ops, owner]))
    return email.id


async def test_compacted_watch_is_read_again_and_no_job_is_missed(rig: Rig) -> None:
    async with (
        proxy_to(rig.settings.etcd_endpoints[0]) as proxy,
        rig.worker(etcd_endpoints=(proxy.url,), lease_ttl=30.0, reconcile_interval=600.0),
    ):
        await rig.ended(await rig.send("ann@example.org"))
        proxy.cut()
        email_id = await rig.send("bob@example.org")
        for _ in range(3):
            revision = await rig.store.client.put(rig.store.keys.prefix + b"filler", b"")
        await rig.store.client.compact(revision, timeout=20)
        proxy.mend()
        [email] = await rig.ended(email_id)
        assert email.status == "complete"


async def test_etcd_away_for_a_while_loses_nothing_and_workers_go_on_by_themselves(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    async with (
        proxy_to(rig.settings.etcd_endpoints[0]) as proxy,
        rig.worker(etcd_endpoints=(proxy.url,), etcd_timeout=1.0, lease_ttl=SHORT_LEASE) as worker,
    ):
        first_id = worker.membership.worker_id
        stuck = await rig.send("hang@example.org")
        await smtp.hung.wait()
        proxy.cut()
        assert worker.membership.identity is not None
        await asyncio.wait_for(worker.membership.identity.lost.wait(), PATIENCE)
        others = [await rig.send(f"r{n}@example.org") for n in range(20)]
        proxy.mend()
        emails = await rig.ended(*others)
        assert {e.status for e in emails} == {
            "complete"
        } and worker.membership.worker_id != first_id
        smtp.release()
        [email] = await rig.ended(stuck)
        assert email.status == "complete"
        await check_invariants(rig.store)


async def test_results_held_while_etcd_is_away_are_written_when_it_is_back(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    """The message went out, then etcd stood still for longer than the lease: no duplicates."""
    smtp.chunking = True
    async with (
        proxy_to(rig.settings.etcd_endpoints[0]) as proxy,
        rig.worker(etcd_endpoints=(proxy.url,), etcd_timeout=1.0) as worker,
    ):

        async def cut_then_accept(attempt: int) -> str:
            proxy.cut()
            return ""

        smtp.message["ann@example.org"] = cut_then_accept
        email_id = await rig.send("ann@example.org")
        await smtp.wait_for(1)
        assert worker.membership.identity is not None
        await asyncio.wait_for(worker.membership.identity.lost.wait(), PATIENCE)
        proxy.mend()
        [email] = await rig.ended(email_id)
        assert email.status == "complete" and len(smtp.messages) == 1
        assert await rig.events(email_id) == ["accepted", "delivered"]
        await check_invariants(rig.store)


async def test_worker_whose_part_fails_stops_with_its_error(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> int:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(timers, "make_due_once", broken)
    worker = worker_module.Worker(rig.settings)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        await asyncio.wait_for(worker.run(), PATIENCE)


async def test_delivery_that_fails_by_our_own_fault_uses_up_tries_and_says_so(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> bytes:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("babygun.worker.messages.render", broken)
    async with rig.worker():
        [email] = await rig.ended(await rig.send("ann@example.org"))
    assert (email.status, email.recipients[0].reply_class, email.tries) == ("failed", "internal", 3)
    assert "a fault of ours" in (email.recipients[0].status_reason or "")


async def test_etcd_killed_and_restarted_under_load_keeps_everything_acknowledged(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    smtp.chunking = True
    server = EtcdServer().start()
    settings = changed(rig.settings, etcd_endpoints=(server.endpoint,), lease_ttl=30.0)
    acknowledged: list[str] = []
    stop = asyncio.Event()

    async def load(own: Rig) -> None:
        n = 0
        while not stop.is_set():
            n += 1
            try:
                acknowledged.append(await own.send(f"r{n}@example.org"))
            except Exception as error:
                assert (
                    "etcd" in f"{type(error).__name__} {error}".lower()
                    or "Unknown" in type(error).__name__
                ), error
                await asyncio.sleep(0.05)

    try:
        async with rig_for(settings) as own, own.worker_process(), own.worker_process():
            loaders = [asyncio.create_task(load(own)) for _ in range(20)]
            for _ in range(3):
                await smtp.wait_for(len(smtp.messages) + 200)
                server.kill()
                server.restart()
            await smtp.wait_for(len(smtp.messages) + 200)
            stop.set()
            await asyncio.gather(*loaders)
            emails = await own.ended(*acknowledged, within=60)
            assert {e.status for e in emails} == {"complete"} and len(emails) > 600
            copies = Counter(
                message.data.split(b"Message-ID: <")[1][:36].decode() for message in smtp.messages
            )
            assert set(acknowledged) <= set(copies)
            doubled = sum(n - 1 for n in copies.values())
            assert doubled <= 0.05 * len(copies), f"{doubled} duplicates of {len(copies)}"
            await check_invariants(own.store)
    finally:
        server.stop()


async def test_worker_killed_again_and_again_loses_nothing(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    smtp.chunking = True
    ids = [await rig.send(f"r{n}@example.org") for n in range(600)]
    for round in (1, 2, 3):
        async with rig.worker_process(lease_ttl=SHORT_LEASE) as worker:
            await smtp.wait_for(round * 50)
            worker.kill()
            await worker.ended()
    async with rig.worker():
        emails = await rig.ended(*ids)
        assert {e.status for e in emails} == {"complete"}
        await check_invariants(rig.store)


async def test_key_put_by_hand_that_cannot_be_read_stops_nobody(rig: Rig) -> None:
    client: EtcdClient = rig.store.client
    await client.put(rig.store.keys.jobs + b"00/main/not-a-job", b"\xff\xff")
    await client.put(rig.store.keys.jobs + b"nonsense", b"")
    await client.put(rig.store.keys.waiting + b"2020-01-01T00:00:00.000Z/nonsense", b"")
    await client.put(rig.store.keys.waiting + b"2020-01-01T00:00:00.000Z/zz/main", b"")
    await client.put(rig.store.keys.owners + b"nonsense", b"{}")
    await client.put(rig.store.keys.workers + b"\xff\xfe", b"{}")
    await client.put(rig.store.keys.retention_kind("emails") + b"nonsense", b"")
    async with rig.worker(reconcile_interval=0.2):
        [email] = await rig.ended(await rig.send("flaky-1@example.org"))
        assert email.status == "complete"
        await client.put(rig.store.keys.jobs + b"00/nonsense", b"")
        await client.put(rig.store.keys.workers + b"\xff\xff", b"")
        [email] = await rig.ended(await rig.send("ann@example.org"))
        assert email.status == "complete"


async def test_worker_that_drains_hands_its_slice_over_at_once(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    async with rig.worker_process(drain_timeout=600.0) as first, rig.worker():
        for half in (b'"slice":[0,128]', b'"slice":[128,256]'):
            await rig.written(rig.store.keys.workers, half)
        # So many that some are in the first one's half.
        stuck = [await rig.send("hang@example.org") for _ in range(40)]
        await smtp.hanging.reached(40)  # a job without a connection would be given back
        stopping = asyncio.create_task(first.terminate(200))
        await draining(rig, first)
        ids = [await rig.send(f"r{n}@example.org") for n in range(40)]
        await rig.ended(*ids)
        assert not stopping.done(), "nobody waited for the drain"
        smtp.release()
        assert await stopping == 0
        await rig.ended(*stuck)
        await check_invariants(rig.store)


async def test_worker_stopped_between_two_transactions_sends_no_second_copy(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    smtp.max_recipients = 4
    released = asyncio.Event()

    async def hang(attempt: int) -> str:
        if attempt == 2:  # the first time it is one too many
            smtp.hung.set()
            await released.wait()
        return "452 4.5.3 Too many recipients" if attempt == 1 else ""

    smtp.rcpt["r4@example.org"] = hang
    async with rig.worker_process(drain_timeout=0.5) as worker:
        email_id = await rig.send(*(f"r{n}@example.org" for n in range(5)))
        await smtp.hung.wait()
        assert await worker.terminate() == 0
        released.set()
    email = await rig.get(email_id)
    assert [r.status for r in email.recipients] == ["delivered"] * 4 + [
        "deferred"
    ] and email.recipients[4].reply_class == "interrupted"
    async with rig.worker():
        await rig.ended(email_id)
    assert {n: len(smtp.to(f"r{n}@example.org")) for n in range(5)} == dict.fromkeys(range(5), 1)


@pytest.mark.parametrize("chunking", [False, True], ids=["data", "bdat"])
async def test_worker_stopped_after_the_message_records_the_delivery_as_uncertain(
    rig: Rig, smtp: MisbehavingServer, chunking: bool
) -> None:
    smtp.chunking = chunking
    released = asyncio.Event()

    async def hang(attempt: int) -> str:
        smtp.hung.set()
        await released.wait()
        return ""

    smtp.message["ann@example.org"] = hang
    async with rig.worker_process(drain_timeout=0.5) as worker:
        email_id = await rig.send("ann@example.org")
        await smtp.hung.wait()
        assert await worker.terminate() == 0
        released.set()
    assert (await rig.get(email_id)).recipients[0].reply_class == "uncertain"


async def test_worker_that_drains_keeps_a_job_whose_result_is_still_being_written(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, may_write = asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any, **more: Any) -> Any:
        writing.set()
        await may_write.wait()
        return await write_change(*arguments, **more)

    monkeypatch.setattr(finish, "write_change", slow)
    async with rig.worker(etcd_timeout=3.0, drain_timeout=0.1) as worker:
        email_id = await rig.send("ann@example.org")
        await writing.wait()
        await worker.dispatch.drain()
        owner = await rig.store.client.get(rig.store.keys.owner(JobRef(email_id, "main")))
        assert owner is not None, "another worker could send a second copy"
        may_write.set()
        assert (await rig.ended(email_id))[0].status == "complete"


async def test_jobs_whose_claims_failed_are_claimed_as_soon_as_etcd_is_back(
    rig: Rig, pauses: Count
) -> None:
    """The pause's end makes the worker claim again: it reads no jobs again here."""
    async with (
        proxy_to(rig.settings.etcd_endpoints[0]) as proxy,
        rig.worker(
            etcd_endpoints=(proxy.url,), etcd_timeout=3.0, lease_ttl=30.0, reconcile_interval=600.0
        ) as worker,
    ):
        await rig.ended(await rig.send("ann@example.org"))
        proxy.swallow_answers()
        ids = [await rig.send(f"r{n}@example.org") for n in range(30)]
        for email_id in ids:  # as if the watch had just shown them
            job = lifecycle.job_of(await rig.get(email_id), "main")
            worker.dispatch.ready.add(JobRef(email_id, "main"), job)
        worker.dispatch.wake()
        await pauses.reached(2)
        proxy.mend()
        await rig.ended(*ids)


@needs_ability(COUNTED_QUOTA)
async def test_etcd_that_refuses_claims_is_not_asked_as_fast_as_it_refuses(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, pauses: Count
) -> None:
    server = EtcdServer("--quota-backend-bytes=8000000", fsync=False).start()
    try:
        async with (
            rig_for(changed(rig.settings, etcd_endpoints=(server.endpoint,))) as own,
            own.worker(worker_ready=100, lease_ttl=60.0) as worker,
        ):
            with monkeypatch.context() as patched, pytest.raises(OutOfSpace):
                patched.setattr(Identity, "trusted", False)  # nothing is claimed yet
                for n in range(1000):
                    await own.send("ann@example.org", body="x" * (20_000 if n < 250 else 300_000))
            before, begun = worker.store.batcher.txns, pauses.value
            await pauses.reached(begun + 5)
            asked = worker.store.batcher.txns - before
            assert asked <= 5 * 150, "each of 100 ready jobs is tried once between two pauses"
    finally:
        server.stop()


async def test_hanging_relay_holds_no_more_than_its_connections_can_carry(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    async with rig.worker(relays={"main": {"url": smtp.url, "max_connections": 2}}) as worker:
        ids = [await rig.send("hang@example.org") for _ in range(60)]
        await rig.counted(rig.store.keys.owners, 48)
        assert len(worker.dispatch.in_flight) == 48
        cancelled = 0
        for email_id in ids:
            with suppress(Conflict):
                await cancel(rig.store, email_id)
                cancelled += 1
        assert cancelled == 12
        smtp.release()
        assert [e.status for e in await rig.ended(*ids)].count("complete") == 48


async def test_email_that_kills_its_workers_comes_to_an_end(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    email_id = await rig.send("hang@example.org")
    async with rig.worker_process(lease_ttl=LONG_LEASE) as first:
        await smtp.hung.wait()
        worker = first
        for _ in range(3):
            smtp.hung.clear()
            async with rig.worker_process(lease_ttl=LONG_LEASE) as following:
                await rig.shares(following.id)  # else it would not see the other one go
                worker.kill()
                await worker.ended()
                await rig.bury(worker)
                dead = b'"previous_worker_id":"' + worker.id.encode()
                await rig.written(rig.store.keys.log(email_id), dead)
                if _ < 2:
                    await smtp.hung.wait()
                    worker = following
                    worker.detach()
                else:
                    await rig.logged(email_id, "deferred")
        email = await rig.get(email_id)
        assert (
            email.tries == 1
            and email.recipients[0].reply_class == "internal"
            and "died" in (email.recipients[0].status_reason or "")
        )


@pytest.mark.parametrize("damage", ["missing", "unreadable"])
async def test_email_whose_content_is_damaged_fails_and_says_so(rig: Rig, damage: str) -> None:
    email_id = await rig.send("ann@example.org")
    chunk = rig.store.keys.chunk(email_id, 0)
    await (
        rig.store.client.delete(chunk)
        if damage == "missing"
        else rig.store.client.put(chunk, b"\xc1")
    )
    async with rig.worker():
        [email] = await rig.ended(email_id)
    assert email.status == "failed" and "content is gone" in (
        email.recipients[0].status_reason or ""
    )


async def test_email_whose_log_has_a_gap_still_ends_and_is_sent_once(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    email_id = await rig.send("ann@example.org")
    await failed_softly(rig.store, email_id, "main")
    await rig.store.client.delete(rig.store.keys.log_entry(email_id, 1))
    async with rig.worker():
        [email] = await rig.ended(email_id)
    assert email.status == "complete" and len(smtp.messages) == 1


async def test_record_that_cannot_be_read_holds_up_nobody(rig: Rig) -> None:
    broken = await rig.send("ann@example.org")
    await rig.store.client.put(rig.store.keys.email(broken), b"{")
    async with rig.worker():
        good, content = rig.email("bob@example.org")
        await accept(rig.store, "client", prepare(rig.store, good, content))
        await rig.logged(good.id, "delivered")


async def test_worker_whose_feed_fails_ends_with_its_error(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = worker_module.Worker(rig.settings)

    async def broken(*_: object) -> int:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(worker.dispatch._feed, "read", broken)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        await asyncio.wait_for(worker.run(), PATIENCE)


async def test_worker_key_without_a_lease_gets_no_slice(rig: Rig) -> None:
    await rig.store.client.put(rig.store.keys.worker("ghost"), b"{}")
    async with rig.worker():
        await rig.written(rig.store.keys.workers, b'"slice":[0,256]')


@pytest.mark.parametrize("queues", [16, 17, 40])
async def test_email_of_many_queues_goes_its_whole_way(
    rig: Rig, smtp: MisbehavingServer, queues: int
) -> None:
    """16 is the most of a usual e-mail. One with more is wide."""
    relays = wide_relays(queues, smtp.url)
    async with rig_for(changed(rig.settings, relays=relays)) as many:
        async with many.worker(), many.worker():
            email_id = await many.send(*(f"fine@d{n}.example" for n in range(queues)))
            [email] = await many.ended(email_id)
            assert email.status == "complete"
            email_id = await many.send(*(f"soft@d{n}.example" for n in range(queues)))
            [email] = await many.ended(email_id)
            assert email.status == "failed" and email.log_seq >= 3
            assert {r.status for r in (await many.get(email_id)).recipients} == {"expired"}
            await retry(many.store, email_id)
            with suppress(Conflict):  # all of it may be under way by now
                assert (await cancel(many.store, email_id)).status in ("cancelled", "incomplete")
            await many.ended(email_id)
        await check_invariants(many.store)
