"""Workers and etcd that die, pause and come back; each fault on real processes. Nothing acknowledged is lost in any of them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter

import pytest

from babygun import codec, lifecycle
from babygun.clock import utc_now
from babygun.etcd import EtcdClient, Txn, put
from babygun.keys import JobRef
from babygun.model import Owner
from babygun.store.transitions import _transition_ops
from babygun.worker import worker as worker_module
from tests.api.proxy import proxy_to
from tests.etcd.test_client import compact
from tests.etcd_server import EtcdServer
from tests.invariants import check_invariants
from tests.rig import Rig, changed, rig_for
from tests.smtp_server import MisbehavingServer


async def test_worker_killed_while_sending_is_replaced_within_its_lease_and_two_seconds(rig: Rig, smtp: MisbehavingServer) -> None:
    released = asyncio.Event()

    async def hang_once(attempt: int) -> str:
        if attempt == 1:
            smtp.hung.set()
            await released.wait()
        return ""

    smtp.rcpt["ann@example.org"] = hang_once
    async with rig.worker_process() as first:
        email_id = await rig.send("ann@example.org")
        await smtp.hung.wait()
        async with rig.worker_process() as second:
            first.kill()
            killed = time.monotonic()
            [email] = await rig.ended(email_id)
            took = time.monotonic() - killed
            released.set()
            assert email.status == "complete" and email.worker_id == second.id
            assert took < rig.settings.lease_ttl + 2, f"took {took:.1f} s"
            entries = await rig.log(email_id)
            assert [e.event for e in entries] == ["accepted", "reclaimed", "delivered"]
            assert entries[1].previous_worker_id == first.id and entries[1].worker_id == second.id
            assert len(smtp.messages) == 1
            await check_invariants(rig.store)


async def test_worker_paused_past_its_lease_writes_nothing_when_it_wakes(rig: Rig, smtp: MisbehavingServer) -> None:
    released = asyncio.Event()

    async def hang_once(attempt: int) -> str:
        if attempt == 1:
            smtp.hung.set()
            await released.wait()
        return ""

    smtp.rcpt["ann@example.org"] = hang_once
    async with rig.worker_process() as first:
        email_id = await rig.send("ann@example.org")
        await smtp.hung.wait()
        async with rig.worker_process() as second:
            first.pause()
            [email] = await rig.ended(email_id)
            assert email.worker_id == second.id and len(smtp.messages) == 1
            first.resume()
            released.set()  # now the server takes the first worker's recipient, too: the message must not follow
            back = await rig.seen(rig.store.keys.workers, lambda value: True if b'"pid":%d,' % first.process.pid in value and first.id.encode() not in value else None, 10)
            assert back, "it registers again, under a new id"
            again = await rig.send("bob@example.org")
            await rig.ended(again)
        assert await first.terminate(10) == 0
        assert "not sent: the lease can't be trusted" in first.log
    assert await rig.get(email_id) == email, "the record is as the second worker left it"
    assert Counter(m.recipients for m in smtp.messages) == {("ann@example.org",): 1, ("bob@example.org",): 1}
    await check_invariants(rig.store)


async def test_worker_told_to_stop_finishes_what_is_in_flight_and_releases_the_rest(rig: Rig, smtp: MisbehavingServer) -> None:
    async with rig.worker_process(drain_timeout=1.0) as worker:
        slow = [await rig.send("slow@example.org") for _ in range(5)]
        stuck = await rig.send("hang@example.org")
        await smtp.hung.wait()
        assert await worker.terminate(6) == 0
    seen = await check_invariants(rig.store)
    assert {seen.emails[email_id].status for email_id in slow} == {"complete"}
    assert seen.emails[stuck].status == "incomplete" and not seen.owners and seen.jobs == {JobRef(stuck, "main")}
    smtp.release()
    async with rig.worker():
        assert (await rig.ended(stuck))[0].tries == 1, "a released job has used no try"


async def test_worker_told_to_stop_while_idle_leaves_at_once(rig: Rig) -> None:
    async with rig.worker_process() as worker:
        assert await worker.terminate(3) == 0
    assert not (await rig.store.client.range(rig.store.keys.workers, rig.store.keys.workers + b"\xff")).kvs


async def test_claim_that_took_effect_after_it_was_given_up_is_released(rig: Rig, smtp: MisbehavingServer) -> None:
    async with rig.worker(reconcile_interval=0.5) as worker:
        session = worker.membership.session
        assert session is not None
        email_id = await rig.send("later@example.org", send_at=None)
        await rig.ended(email_id)
        smtp.messages.clear()
        # A job that the worker owns without knowing: what a claim leaves behind that its deadline has given up.
        worker.ready.clear()
        lost = await _claimed_behind_its_back(rig, worker.membership.worker_id, session.lease_id)
        [email] = await rig.ended(lost)
        assert email.status == "complete" and len(smtp.messages) == 1
        await check_invariants(rig.store)


async def _claimed_behind_its_back(rig: Rig, worker_id: str, lease_id: int) -> str:
    email, packed = rig.email("ann@example.org")
    transition = lifecycle.accept(email, now=utc_now())
    ops = _transition_ops(rig.store, transition, None, 0)
    owner = put(rig.store.keys.owner(JobRef(email.id, "main")), codec.encode_state(Owner(worker_id, "lost", utc_now())), lease_id)
    await rig.store.client.txn(Txn([], [*ops, put(rig.store.keys.chunk(email.id, 0), packed), owner]))
    return email.id


async def test_compacted_watch_is_read_again_and_no_job_is_missed(rig: Rig) -> None:
    async with proxy_to(rig.settings.etcd_endpoints[0]) as proxy, rig.worker(etcd_endpoints=(proxy.url,), lease_ttl=30.0, reconcile_interval=600.0):
        await rig.ended(await rig.send("ann@example.org"))
        proxy.cut()
        email_id = await rig.send("bob@example.org")
        for _ in range(3):
            revision = await rig.store.client.put(rig.store.keys.prefix + b"filler", b"")
        await compact(rig.store.client, revision)
        proxy.mend()
        [email] = await rig.ended(email_id)
        assert email.status == "complete"


async def test_etcd_away_for_a_while_loses_nothing_and_workers_go_on_by_themselves(rig: Rig, smtp: MisbehavingServer) -> None:
    async with proxy_to(rig.settings.etcd_endpoints[0]) as proxy, rig.worker(etcd_endpoints=(proxy.url,), etcd_timeout=1.0) as worker:
        first_id = worker.membership.worker_id
        stuck = await rig.send("hang@example.org")
        await smtp.hung.wait()
        proxy.cut()
        assert worker.membership.session is not None
        await asyncio.wait_for(worker.membership.session.lost.wait(), 10)
        others = [await rig.send(f"r{n}@example.org") for n in range(20)]
        proxy.mend()
        emails = await rig.ended(*others)
        assert {e.status for e in emails} == {"complete"} and worker.membership.worker_id != first_id
        smtp.release()
        [email] = await rig.ended(stuck)
        assert email.status == "complete"
        await check_invariants(rig.store)


async def test_results_held_while_etcd_is_away_are_written_when_it_is_back(rig: Rig, smtp: MisbehavingServer) -> None:
    """The message went out, then etcd stood still for longer than the lease: a stall makes no duplicates."""
    async with proxy_to(rig.settings.etcd_endpoints[0]) as proxy, rig.worker(etcd_endpoints=(proxy.url,), etcd_timeout=1.0, lease_ttl=3.0) as worker:

        async def cut_then_accept(attempt: int) -> str:
            proxy.cut()
            return ""

        smtp.message["ann@example.org"] = cut_then_accept
        email_id = await rig.send("ann@example.org")
        await smtp.wait_for(1)
        assert worker.membership.session is not None
        await asyncio.wait_for(worker.membership.session.lost.wait(), 10)
        proxy.mend()
        [email] = await rig.ended(email_id)
        assert email.status == "complete" and len(smtp.messages) == 1
        assert await rig.events(email_id) == ["accepted", "delivered"]
        await check_invariants(rig.store)


async def test_worker_whose_part_fails_stops_with_its_error(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> int:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(worker_module.timers, "make_due_once", broken)
    worker = worker_module.Worker(rig.settings)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        await asyncio.wait_for(worker.run(), 20)


async def test_delivery_that_fails_by_our_own_fault_uses_up_tries_and_says_so(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> bytes:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("babygun.worker.delivery.render", broken)
    async with rig.worker():
        [email] = await rig.ended(await rig.send("ann@example.org"))
    assert (email.status, email.recipients[0].reply_class, email.tries) == ("failed", "internal", 3)
    assert "a fault of ours" in (email.recipients[0].status_reason or "")


@pytest.mark.timeout(120)
async def test_etcd_killed_and_restarted_under_load_keeps_everything_acknowledged(rig: Rig, smtp: MisbehavingServer) -> None:
    server = EtcdServer().start()
    settings = changed(rig.settings, etcd_endpoints=(server.endpoint,), lease_ttl=5.0)
    acknowledged: list[str] = []
    stop = asyncio.Event()

    async def load(own: Rig) -> None:
        n = 0
        while not stop.is_set():
            n += 1
            try:
                acknowledged.append(await own.send(f"r{n}@example.org"))
            except Exception as error:
                assert "etcd" in f"{type(error).__name__} {error}".lower() or "Unknown" in type(error).__name__, error
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
            copies = Counter(message.data.split(b"Message-ID: <")[1][:36].decode() for message in smtp.messages)
            assert set(acknowledged) <= set(copies)
            doubled = sum(n - 1 for n in copies.values())
            assert doubled <= 0.05 * len(copies), f"{doubled} duplicates of {len(copies)}"
            await check_invariants(own.store)
    finally:
        server.stop()


async def test_worker_killed_again_and_again_loses_nothing(rig: Rig, smtp: MisbehavingServer) -> None:
    ids = [await rig.send(f"r{n}@example.org") for n in range(600)]
    for round in (1, 2, 3):
        async with rig.worker_process() as worker:
            await smtp.wait_for(round * 50)
            os.kill(worker.process.pid, signal.SIGKILL)
            await worker.process.wait()
    async with rig.worker():
        emails = await rig.ended(*ids, within=30)
        assert {e.status for e in emails} == {"complete"}
        await check_invariants(rig.store)


async def test_key_put_by_hand_that_cannot_be_read_stops_nobody(rig: Rig) -> None:
    client: EtcdClient = rig.store.client
    await client.put(rig.store.keys.jobs + b"00/main/not-a-job", b"\xff\xff")
    await client.put(rig.store.keys.jobs + b"nonsense", b"")
    await client.put(rig.store.keys.waiting + b"2020-01-01T00:00:00.000Z/nonsense", b"")
    await client.put(rig.store.keys.owners + b"nonsense", b"{}")
    async with rig.worker(reconcile_interval=0.2):
        [email] = await rig.ended(await rig.send("flaky-1@example.org"))
        assert email.status == "complete"
        await client.put(rig.store.keys.jobs + b"00/nonsense", b"")
        [email] = await rig.ended(await rig.send("ann@example.org"))
        assert email.status == "complete"
