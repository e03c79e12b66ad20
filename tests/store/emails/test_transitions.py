"""Each transition on a real etcd: races, lost answers, and what must be refused."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from babygun.email.lifecycle import QueueResult, RecipientResult
from babygun.email.model import Email
from babygun.errors import Conflict, EtcdUnavailable, LeaseNotFound, NotFound, OutcomeUnknown
from babygun.etcd import Session
from babygun.intake.ids import new_email_id
from babygun.store import Store, codec
from babygun.store.emails import acceptance
from babygun.store.emails.acceptance import Accepted, accept
from babygun.store.emails.reading import owned_by
from babygun.store.emails.transitions import (
    Claim,
    Held,
    cancel,
    claim,
    finish,
    make_due,
    reclaim,
    release,
    retry,
)
from babygun.store.keys import LOG_ENTRIES, JobRef, range_end
from tests.api.proxy import proxy_to
from tests.support.invariants import check_invariants
from tests.support.rig import Rig, changed, rig_for

OK = RecipientResult("deliver", "delivered", 250)
SOFT = RecipientResult("retry", "temporary", 451)
HARD = RecipientResult("fail", "bad_mailbox", 550)


async def lease(rig: Rig) -> int:
    session = Session(rig.store.client, 60)
    await session.start()
    return session.lease_id


async def claimed(
    rig: Rig, email_id: str, worker_id: str = "w1", lease_id: int | None = None, queue: str = "main"
) -> Claim:
    got = await claim(
        rig.store,
        JobRef(email_id, queue),
        worker_id=worker_id,
        lease_id=lease_id or await lease(rig),
        attempt=new_email_id(),
    )
    assert got is not None
    return got


def held(got: Claim, outcome: RecipientResult, worker_id: str = "w1") -> Held:
    return Held(
        got,
        QueueResult(
            got.ref.queue,
            worker_id,
            got.claimed_at,
            {r.email: outcome for r in got.email.recipients if r.queue == got.ref.queue},
        ),
    )


async def test_claim_by_two_workers_at_once_is_won_by_one(rig: Rig) -> None:
    leases = [await lease(rig) for _ in range(8)]
    for _ in range(10):
        ref = JobRef(await rig.send("ann@example.org"), "main")
        claims = await asyncio.gather(
            *(
                claim(rig.store, ref, worker_id=f"w{n}", lease_id=leases[n], attempt=str(n))
                for n in range(8)
            )
        )
        assert sum(c is not None for c in claims) == 1


async def test_claim_hands_the_record_and_the_content_over(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org", subject="hi", body="text")
    got = await claimed(rig, email_id)
    assert got.email.id == email_id and got.content.body == "text" and got.content.subject == "hi"


async def test_claim_under_a_lease_that_is_gone_raises_and_owns_nothing(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    with pytest.raises(LeaseNotFound):
        await claim(
            rig.store, JobRef(email_id, "main"), worker_id="w1", lease_id=123456789, attempt="a"
        )
    assert not (await check_invariants(rig.store)).owners


async def test_claim_of_a_job_whose_email_was_removed_by_hand_removes_the_job(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    await rig.store.client.delete(rig.store.keys.email(email_id))
    assert (
        await claim(
            rig.store,
            JobRef(email_id, "main"),
            worker_id="w1",
            lease_id=await lease(rig),
            attempt="a",
        )
        is None
    )
    seen = await check_invariants(rig.store)
    assert not seen.jobs and not seen.owners


async def test_finish_by_a_former_owner_is_dropped_once_another_owns_the_job(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    old_lease = await lease(rig)
    old = await claimed(rig, email_id, "old", old_lease)
    await rig.store.client.revoke(old_lease)
    new = await claimed(rig, email_id, "new")
    done = await finish(rig.store, [held(old, HARD, "old")])
    assert done.dropped and not done.written
    done = await finish(rig.store, [held(new, OK, "new")])
    assert (
        done.written
        and done.email
        and done.email.status == "complete"
        and done.email.worker_id == "new"
    )
    assert await rig.events(email_id) == ["accepted", "delivered"]


async def test_finish_by_a_former_owner_is_dropped_once_another_has_sent(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    old_lease = await lease(rig)
    old = await claimed(rig, email_id, "old", old_lease)
    await rig.store.client.revoke(old_lease)
    await finish(rig.store, [held(await claimed(rig, email_id, "new"), SOFT, "new")])
    assert (await finish(rig.store, [held(old, OK, "old")])).dropped
    assert (await rig.get(email_id)).recipients[0].status == "deferred"
    await check_invariants(rig.store)


async def test_finish_after_a_stall_still_counts_where_nobody_took_over(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    old_lease = await lease(rig)
    old = await claimed(rig, email_id, "old", old_lease)
    await rig.store.client.revoke(old_lease)
    done = await finish(rig.store, [held(old, OK, "old")])
    assert done.written and (await rig.get(email_id)).status == "complete"
    await check_invariants(rig.store)


async def test_finish_after_a_stall_counts_though_another_queue_has_finished(
    two_queues: Rig,
) -> None:
    email_id = await two_queues.send("x@a.example", "y@b.example")
    old_lease = await lease(two_queues)
    old = await claimed(two_queues, email_id, "old", old_lease, "a")
    await two_queues.store.client.revoke(old_lease)
    assert (
        await finish(two_queues.store, [held(await claimed(two_queues, email_id, queue="b"), OK)])
    ).written
    assert (await finish(two_queues.store, [held(old, OK, "old")])).written
    assert (await two_queues.get(email_id)).status == "complete"
    await check_invariants(two_queues.store)


async def test_finish_on_a_record_that_moved_decides_again(two_queues: Rig) -> None:
    email_id = await two_queues.send("x@a.example", "y@b.example")
    a, b = (
        await claimed(two_queues, email_id, queue="a"),
        await claimed(two_queues, email_id, queue="b"),
    )
    first, second = await asyncio.gather(
        finish(two_queues.store, [held(a, OK)]), finish(two_queues.store, [held(b, HARD)])
    )
    assert first.written and second.written
    email = await two_queues.get(email_id)
    assert (email.status, [r.status for r in email.recipients], email.log_seq) == (
        "failed",
        ["delivered", "bounced"],
        2,
    )
    await check_invariants(two_queues.store)


async def test_email_of_an_earlier_version_ends_with_all_of_its_log_on_the_lease(rig: Rig) -> None:
    email_id = await rig.send_as_before("ann@example.org")
    sent = rig.store.batcher.txns
    claim = await claimed(rig, email_id)
    assert (await finish(rig.store, [held(claim, HARD)])).written
    assert rig.store.batcher.txns - sent == 2, "a claim and a result"
    for leased in (True, False):
        log, record = (
            rig.store.keys.log(email_id),
            await rig.store.client.get(rig.store.keys.email(email_id)),
        )
        assert record and {
            bool(kv.lease)
            for kv in (*(await rig.store.client.range(log, range_end(log))).kvs, record)
        } == {leased}
        await check_invariants(rig.store)
        if leased:
            await retry(rig.store, email_id)
    assert await rig.events(email_id) == ["accepted", "bounced", "retried"]


async def test_email_whose_log_has_a_gap_is_cancelled_and_retried_all_the_same(rig: Rig) -> None:
    email_id = await rig.send_as_before("ann@example.org")
    await rig.store.client.delete(rig.store.keys.log_entry(email_id, 0))
    assert (await cancel(rig.store, email_id)).status == "cancelled"
    assert (await retry(rig.store, email_id)).status == "incomplete"
    assert (await finish(rig.store, [held(await claimed(rig, email_id), OK)])).written
    assert await rig.events(email_id) == ["accepted", "cancelled", "retried", "delivered"]


async def test_acceptance_and_an_end_are_as_few_writes_as_can_be(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    log = rig.store.keys.log(email_id)
    assert not (await rig.store.client.range(log, range_end(log))).kvs, (
        "the record tells of its acceptance"
    )
    assert (await finish(rig.store, [held(await claimed(rig, email_id), OK)])).written
    assert not (await rig.store.client.range(log, range_end(log))).kvs, (
        "and of an end that comes at once"
    )
    assert await rig.events(email_id) == ["accepted", "delivered"]
    await check_invariants(rig.store)


async def test_log_of_an_email_that_is_retried_after_its_end_is_whole(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    assert (await finish(rig.store, [held(await claimed(rig, email_id), HARD)])).written
    [_, bounced] = await rig.log(email_id)
    await retry(rig.store, email_id, client_id="other")
    await check_invariants(rig.store)
    assert (await rig.log(email_id))[1] == bounced
    assert (await finish(rig.store, [held(await claimed(rig, email_id), HARD)])).written
    await check_invariants(rig.store)
    log = rig.store.keys.log(email_id)
    assert [bool(kv.lease) for kv in (await rig.store.client.range(log, range_end(log))).kvs] == [
        True
    ] * 3
    await retry(rig.store, email_id)
    assert await rig.events(email_id) == ["accepted", "bounced", "retried", "bounced", "retried"]
    await check_invariants(rig.store)


async def test_finish_whose_retention_lease_was_revoked_gets_another(rig: Rig) -> None:
    first = await rig.send("ann@example.org")
    await finish(rig.store, [held(await claimed(rig, first), OK)])
    await rig.store.client.revoke(rig.store.record_leases._lease_id)
    second = await rig.send("ann@example.org")
    assert (await finish(rig.store, [held(await claimed(rig, second), OK)])).written
    assert (await rig.get(second)).status == "complete"


async def test_finish_whose_answer_is_lost_is_written_once(rig: Rig) -> None:
    async with (
        proxy_to(rig.settings.etcd_endpoints[0]) as proxy,
        rig_for(changed(rig.settings, etcd_endpoints=(proxy.url,), etcd_timeout=1.0)) as far,
    ):
        email_id = await rig.send("ann@example.org")
        got = await claimed(far, email_id)
        await far.store.record_leases.lease(1)
        await far.store.content_leases.lease(1)
        proxy.swallow_answers()
        finishing = asyncio.create_task(finish(far.store, [held(got, OK)]))
        await rig.ended(email_id)
        await asyncio.sleep(1.2)  # past the deadline of the RPC whose answer is kept back
        proxy.mend()
        done = await asyncio.wait_for(finishing, 10)
    assert done.written and not done.dropped
    assert await rig.events(email_id) == ["accepted", "delivered"]
    await check_invariants(rig.store)


async def test_claim_whose_answer_is_lost_is_the_same_claim(rig: Rig) -> None:
    async with (
        proxy_to(rig.settings.etcd_endpoints[0]) as proxy,
        rig_for(changed(rig.settings, etcd_endpoints=(proxy.url,), etcd_timeout=1.0)) as far,
    ):
        email_id = await rig.send("ann@example.org")
        far_lease = await lease(far)
        proxy.swallow_answers()
        claiming = asyncio.create_task(
            claim(
                far.store,
                JobRef(email_id, "main"),
                worker_id="w1",
                lease_id=far_lease,
                attempt="first",
            )
        )
        await rig.owned(email_id)
        await asyncio.sleep(1.2)
        proxy.mend()
        got = await asyncio.wait_for(claiming, 10)
        assert got is not None
        assert (await finish(far.store, [held(got, OK)])).written


async def test_accept_whose_answer_is_lost_is_stored_once(rig: Rig) -> None:
    async with (
        proxy_to(rig.settings.etcd_endpoints[0]) as proxy,
        rig_for(changed(rig.settings, etcd_endpoints=(proxy.url,), etcd_timeout=1.0)) as far,
    ):
        await far.store.client.get(b"/warm")
        proxy.swallow_answers()
        sending = asyncio.create_task(far.send("ann@example.org"))
        await rig.seen(rig.store.keys.emails, lambda value: True, 10)
        await asyncio.sleep(1.2)
        proxy.mend()
        email_id = await asyncio.wait_for(sending, 10)
    seen = await check_invariants(rig.store)
    assert list(seen.emails) == [email_id]


async def test_accept_of_what_is_stored_already_is_no_error_and_stores_nothing_more(
    rig: Rig,
) -> None:
    email, content = rig.email("ann@example.org")
    for _ in range(2):
        assert await accept(rig.store, email, content) == Accepted(email.id)
    assert await rig.events(email.id) == ["accepted"]


async def test_accept_that_is_refused_and_can_not_be_read_back_is_unknown(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(key: bytes) -> None:
        raise EtcdUnavailable("away")

    email, content = rig.email("ann@example.org")
    await accept(rig.store, email, content)
    async with rig_for(changed(rig.settings, etcd_timeout=0.2)) as hasty:
        await hasty.store.client.grant(5)  # it is connected now
        monkeypatch.setattr(hasty.store.client, "get", away)
        with pytest.raises(OutcomeUnknown, match="away"):
            await accept(hasty.store, email, content)


async def test_accept_of_a_large_email_whose_chunks_are_gone_is_unknown_and_stores_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forgotten(store: Store, chunks: object) -> int:
        return await store.client.grant(60)

    monkeypatch.setattr(acceptance, "_upload", forgotten)
    with pytest.raises(OutcomeUnknown, match="expired"):
        await rig.send("ann@example.org", body="x" * 2_000_000)
    assert not (await check_invariants(rig.store)).emails


async def test_accept_with_a_known_idempotency_key_returns_the_first_email(rig: Rig) -> None:
    first, content = rig.email("ann@example.org")
    again, _ = rig.email("ann@example.org")
    one = await accept(rig.store, first, content, idempotency_key="k/1", fingerprint="f")
    two = await accept(rig.store, again, content, idempotency_key="k/1", fingerprint="f")
    assert (one.repeated, two.repeated, one.email_id) == (False, True, two.email_id)
    with pytest.raises(Conflict):
        await accept(rig.store, again, content, idempotency_key="k/1", fingerprint="other")
    assert len((await check_invariants(rig.store)).emails) == 1


async def test_accept_at_once_with_one_idempotency_key_stores_one_email(rig: Rig) -> None:
    emails = [rig.email("ann@example.org") for _ in range(20)]
    results = await asyncio.gather(
        *(
            accept(rig.store, e, content, idempotency_key="k", fingerprint="f")
            for e, content in emails
        )
    )
    assert len({r.email_id for r in results}) == 1 and sum(not r.repeated for r in results) == 1
    assert len((await check_invariants(rig.store)).emails) == 1


async def test_accept_of_a_large_email_takes_its_chunks_off_the_upload_lease(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org", body="x" * 3_000_000)
    chunks = await rig.store.client.range(
        rig.store.keys.content(email_id), rig.store.keys.content(email_id) + b"\xff"
    )
    assert len(chunks.kvs) == 4 and {kv.lease for kv in chunks.kvs} == {0}
    assert (await claimed(rig, email_id)).content.body == "x" * 3_000_000


async def test_accept_of_a_large_email_that_is_refused_leaves_no_chunk(rig: Rig) -> None:
    email, content = rig.email("ann@example.org", body="x" * 2_000_000)
    await accept(rig.store, email, content, idempotency_key="k", fingerprint="f")
    other, content = rig.email("ann@example.org", body="y" * 2_000_000)
    with pytest.raises(Conflict):
        await accept(rig.store, other, content, idempotency_key="k", fingerprint="g")
    assert list((await check_invariants(rig.store)).chunks) == [email.id]


async def test_release_frees_the_job_and_tells_the_watchers(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    before = await rig.store.client.get(rig.store.keys.job(JobRef(email_id, "main")))
    got = await claimed(rig, email_id)
    assert await release(rig.store, got.ref, got.owner_revision)
    after = await rig.store.client.get(rig.store.keys.job(got.ref))
    assert (
        before
        and after
        and after.mod_revision > before.mod_revision
        and after.value == before.value
    )
    assert not await release(rig.store, got.ref, got.owner_revision), "it is not ours any more"
    await check_invariants(rig.store)


async def test_due_by_two_workers_at_once_makes_one_job(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    await finish(rig.store, [held(await claimed(rig, email_id), SOFT)])
    [kv] = (
        await rig.store.client.range(rig.store.keys.waiting, rig.store.keys.waiting + b"\xff")
    ).kvs
    assert sorted(
        await asyncio.gather(*(make_due(rig.store, kv.key, kv.value) for _ in range(5)))
    ) == [False] * 4 + [True]
    await check_invariants(rig.store)


async def test_reclaim_is_logged_with_the_dead_workers_id(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    got = await claimed(rig, email_id, "new")
    taken = await reclaim(rig.store, got, worker_id="new", previous_worker_id="dead")
    assert taken is not None
    assert (await finish(rig.store, [held(taken, OK, "new")])).written
    entries = await rig.log(email_id)
    assert [e.event for e in entries] == ["accepted", "reclaimed", "delivered"] and entries[
        1
    ].previous_worker_id == "dead"


async def test_reclaim_by_one_who_has_lost_the_job_writes_nothing(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    got = await claimed(rig, email_id)
    await release(rig.store, got.ref, got.owner_revision)
    assert await reclaim(rig.store, got, worker_id="w1", previous_worker_id="dead") is None
    assert await rig.events(email_id) == ["accepted"]


async def test_cancel_of_what_waits_and_of_what_is_ready(rig: Rig) -> None:
    ready = await rig.send("ann@example.org")
    waiting = await rig.send("ann@example.org")
    await finish(rig.store, [held(await claimed(rig, waiting), SOFT)])
    for email_id in (ready, waiting):
        assert (await cancel(rig.store, email_id)).status == "cancelled"
        with pytest.raises(Conflict, match="cancelled already"):
            await cancel(rig.store, email_id)
    seen = await check_invariants(rig.store)
    assert not seen.jobs and not seen.waiting


async def test_cancel_of_what_is_being_sent_is_refused(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    got = await claimed(rig, email_id)
    with pytest.raises(Conflict, match="being sent"):
        await cancel(rig.store, email_id)
    assert (await finish(rig.store, [held(got, OK)])).written


async def test_cancel_and_claim_at_once_have_one_winner(rig: Rig) -> None:
    lease_id = await lease(rig)
    for _ in range(20):
        ref = JobRef(await rig.send("ann@example.org"), "main")

        async def stop(email_id: str) -> Email | None:
            try:
                return await cancel(rig.store, email_id)
            except Conflict:
                return None

        got, stopped = await asyncio.gather(
            claim(rig.store, ref, worker_id="w1", lease_id=lease_id, attempt="a"),
            stop(ref.email_id),
        )
        assert (got is None) != (stopped is None)
    await check_invariants(rig.store)


async def test_cancel_and_retry_of_an_unknown_email_are_not_found(rig: Rig) -> None:
    for verb in (cancel, retry):
        with pytest.raises(NotFound):
            await verb(rig.store, new_email_id())


async def test_retry_takes_everything_off_its_lease_and_ends_again(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    await finish(rig.store, [held(await claimed(rig, email_id), HARD)])
    assert (await check_invariants(rig.store)).failed == {email_id}
    await retry(rig.store, email_id)
    seen = await check_invariants(rig.store)
    assert not seen.failed and seen.jobs == {JobRef(email_id, "main")}
    kept = await rig.store.client.range(rig.store.keys.prefix, rig.store.keys.prefix + b"\xff")
    assert all(kv.lease == 0 for kv in kept.kvs if email_id.encode() in kv.key)
    await finish(rig.store, [held(await claimed(rig, email_id), OK)])
    assert (await rig.get(email_id)).status == "complete"
    await check_invariants(rig.store)


async def test_retry_of_an_email_whose_content_is_gone_says_so(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    await finish(rig.store, [held(await claimed(rig, email_id), HARD)])
    await rig.store.client.delete(rig.store.keys.chunk(email_id, 0))
    with pytest.raises(Conflict, match="content is not kept"):
        await retry(rig.store, email_id)


async def test_log_beyond_its_limit_keeps_the_first_and_the_newest(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    lease_id = await lease(rig)
    for _ in range(20):
        await finish(rig.store, [held(await claimed(rig, email_id, lease_id=lease_id), HARD)])
        await retry(rig.store, email_id)
    entries = await rig.log(email_id)
    assert [e.seq for e in entries] == [0, *range(10, 41)] and len(entries) == LOG_ENTRIES
    await finish(rig.store, [held(await claimed(rig, email_id, lease_id=lease_id), OK)])
    await check_invariants(rig.store)


async def test_owned_by_lists_a_workers_own_jobs_only(rig: Rig) -> None:
    ids = [await rig.send("ann@example.org") for _ in range(3)]
    claims = [
        await claimed(rig, email_id, worker)
        for email_id, worker in zip(ids, ("w1", "w2", "w1"), strict=True)
    ]
    assert sorted(await owned_by(rig.store, "w1")) == sorted(
        (c.ref, c.owner_revision) for c in claims if c.ref != claims[1].ref
    )


async def test_contents_of_a_delivered_email_go_at_once_with_no_retention(rig: Rig) -> None:
    async with rig_for(changed(rig.settings, contents_retention=0.0)) as rig0:
        delivered, failed = (
            await rig0.send("ann@example.org", body="x" * 1_000_000),
            await rig0.send("ann@example.org"),
        )
        await finish(rig0.store, [held(await claimed(rig0, delivered), OK)])
        await finish(rig0.store, [held(await claimed(rig0, failed), HARD)])
        assert list((await check_invariants(rig0.store)).chunks) == [failed]


async def test_finish_with_the_most_recipients_and_chunks_fits_etcds_limits(rig: Rig) -> None:
    recipients = [
        f"{'r' * 50}{n:04d}@{'d' * 60}.{'e' * 60}.{'f' * 60}.example" for n in range(1000)
    ]
    email_id = await rig.send(*recipients, body="x" * 25_000_000)
    got = await claimed(rig, email_id)
    assert got.email.chunks >= 32
    refusal = replace(SOFT, reason="\u00fc" * 4000)
    outcome = held(got, SOFT)
    results = {
        address: replace(refusal, reason=f"{n} {refusal.reason}")
        for n, address in enumerate(recipients)
    }
    assert (await finish(rig.store, [Held(got, replace(outcome.result, results=results))])).written
    await check_invariants(rig.store)
    assert len(codec.encode_state(await rig.get(email_id))) > 400_000
