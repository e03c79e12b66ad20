"""Wide e-mails on a real etcd, from the acceptance to the last transition and back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager

import pytest
from msgspec.structs import replace

from babygun.email import wide
from babygun.email.bounces import Bounce, Complaint
from babygun.email.edit import Edit
from babygun.email.model import Recipient
from babygun.email.return_path import of_recipient
from babygun.email.tries import RecipientResult
from babygun.errors import Conflict
from babygun.store import Store, codec
from babygun.store.emails import acceptance, late, on_request, writes
from babygun.store.emails.claims import Claim, claim, reclaim
from babygun.store.emails.finish import Finished, finish
from babygun.store.emails.listing import list_emails
from babygun.store.emails.new_email import prepare
from babygun.store.emails.reading import get_email, get_log
from babygun.store.keys import JobRef, range_end
from babygun.worker.finisher import Finisher
from tests.store.emails.steps import HARD, OK, SOFT, lease, pending
from tests.support.invariants import check_invariants
from tests.support.rig import Rig, rig_for

TOGETHER = 32


async def _claimed(rig: Rig, email_id: str, queues: list[str] | None = None) -> list[Claim]:
    """Claims of these queues, by default of all that have a job."""
    if queues is None:
        found = await rig.store.client.range(rig.store.keys.jobs, range_end(rig.store.keys.jobs))
        refs = [rig.store.keys.parse_job(kv.key) for kv in found.kvs]
        queues = sorted(ref.queue for ref in refs if ref.email_id == email_id)
    mine = await lease(rig)
    claims = await asyncio.gather(
        *(
            claim(rig.store, JobRef(email_id, queue), worker_id="w1", lease_id=mine, has_part=True)
            for queue in queues
        )
    )
    assert all(claims)
    return [one for one in claims if one is not None]


async def _finished(rig: Rig, claims: list[Claim], outcome: RecipientResult) -> Finished:
    """Ends the tries as a worker does: some results in one write, with the newest record known."""
    email, revision, done = None, 0, None
    for at in range(0, len(claims), TOGETHER):
        some = [pending(one, outcome) for one in claims[at : at + TOGETHER]]
        done = await finish(rig.store, some, email=email, email_revision=revision)
        assert not done.dropped
        email, revision = done.email, done.email_revision
    assert done is not None
    return done


@contextmanager
def _counted(store: Store) -> Iterator[list[int]]:
    """The bytes of each transaction that the store sends."""
    sent: list[int] = []
    send = store.client.raw_txn

    async def counting(encoded: bytes) -> object:
        sent.append(len(encoded))
        return await send(encoded)

    store.client.raw_txn = counting  # type: ignore[method-assign]
    try:
        yield sent
    finally:
        store.client.raw_txn = send  # type: ignore[method-assign]


def _queues(count: int) -> list[str]:
    return [f"mx:d{number:04}.example" for number in range(count)]


@pytest.mark.parametrize("queues", [16, 17])
async def test_email_is_wide_from_17_queues_on(rig: Rig, queues: int) -> None:
    email_id = await rig.send_wide(queues)
    record = await rig.store.client.get(rig.store.keys.email(email_id))
    assert record is not None
    is_wide = codec.decode_email(record.value).wide is not None
    assert is_wide == (queues == 17)
    seen = await check_invariants(rig.store)
    assert len(seen.parts) == is_wide and len(seen.jobs) == queues


async def test_email_to_1000_domains_lives_from_acceptance_to_the_end_and_back(rig: Rig) -> None:
    email_id = await rig.send_wide(1000)
    assert len((await check_invariants(rig.store)).jobs) == 1000
    claims = await _claimed(rig, email_id)
    await _finished(rig, claims[:500], OK)
    await check_invariants(rig.store)
    done = await _finished(rig, claims[500:], HARD)
    assert done.email and done.email.status == "failed"
    seen = await check_invariants(rig.store)
    assert not seen.jobs and not seen.owners and seen.failed == {email_id}
    await on_request.retry(rig.store, email_id)
    assert len((await check_invariants(rig.store)).jobs) == 500
    await _finished(rig, await _claimed(rig, email_id), OK)
    seen = await check_invariants(rig.store)
    assert seen.emails[email_id].status == "complete" and not seen.failed


async def test_cancel_of_an_email_to_1000_domains_stops_all_that_is_not_being_sent(
    rig: Rig,
) -> None:
    email_id = await rig.send_wide(1000)
    claims = await _claimed(rig, email_id, _queues(1000)[300:450])
    await on_request.cancel(rig.store, email_id)
    seen = await check_invariants(rig.store)
    assert len(seen.jobs) == 150 and seen.emails[email_id].status == "incomplete"
    with pytest.raises(Conflict):
        await on_request.cancel(rig.store, email_id)
    await _finished(rig, claims, OK)
    email = (await check_invariants(rig.store)).emails[email_id]
    assert email.status == "cancelled"
    assert email.status_reason == "850 of 1000 recipients not reached: 850 cancelled"
    await on_request.retry(rig.store, email_id)
    assert len((await check_invariants(rig.store)).jobs) == 850


async def test_writes_of_a_finish_do_not_grow_with_the_recipients(rig: Rig) -> None:
    """The bytes that ten finishes send to etcd, of an e-mail with 20 queues and one with 1,000."""
    sizes = []
    for count in (20, 1000):
        email_id = await rig.send_wide(count)
        claims = await _claimed(rig, email_id, _queues(10))
        with _counted(rig.store) as sent:
            for one in claims:
                await finish(rig.store, [pending(one, OK)])
        sizes.append(sum(sent))
    assert sizes[1] <= sizes[0] + 10 * 64, sizes


async def test_finishes_of_1000_queues_by_three_processes_are_all_written(
    rig: Rig,
) -> None:
    """They contend for the record. Each write carries what is ready together."""
    email_id = await rig.send_wide(1000)
    claims = await _claimed(rig, email_id)
    async with AsyncExitStack() as stack:
        rigs = [await stack.enter_async_context(rig_for(rig.settings)) for _ in range(3)]
        finishers = [Finisher(each.store) for each in rigs]
        with ExitStack() as counts:
            sent = [counts.enter_context(_counted(each.store)) for each in rigs]
            done = await asyncio.gather(
                *(
                    finishers[n % 3].finish(one, pending(one, OK).result)
                    for n, one in enumerate(claims)
                )
            )
    assert all(one.written and not one.dropped for one in done)
    assert (await check_invariants(rig.store)).emails[email_id].status == "complete"
    assert sum(map(len, sent)) < 200, "transactions"


async def test_finishes_one_after_the_other_take_one_transaction_each(rig: Rig) -> None:
    """A worker knows the record as its last result left it, though the claims are older."""
    claims = await _claimed(rig, await rig.send_wide(30))
    finisher = Finisher(rig.store)
    with _counted(rig.store) as sent:
        for one in claims[:20]:
            await finisher.finish(one, pending(one, OK).result)
    assert len(sent) == 20
    await check_invariants(rig.store)


async def test_finish_on_a_record_that_moved_decides_again(rig: Rig) -> None:
    email_id = await rig.send_wide(17)
    claims = await _claimed(rig, email_id)
    await asyncio.gather(
        *(finish(rig.store, [pending(one, OK if n % 2 else SOFT)]) for n, one in enumerate(claims))
    )
    seen = await check_invariants(rig.store)
    email = seen.emails[email_id]
    assert email.log_seq == 17 and len(seen.waiting) == 9
    assert email.status_reason == "9 of 17 recipients not reached yet: 9 deferred (temporary)"


async def test_finish_after_a_stall_still_counts_where_nobody_took_over(rig: Rig) -> None:
    email_id = await rig.send_wide(17)
    mine = await lease(rig)
    ref = JobRef(email_id, _queues(1)[0])
    got = await claim(rig.store, ref, worker_id="w1", lease_id=mine, has_part=True)
    assert got is not None
    (other,) = await _claimed(rig, email_id, _queues(2)[1:])
    await finish(rig.store, [pending(other, HARD)])
    await rig.store.client.revoke(mine)
    assert (await finish(rig.store, [pending(got, OK)])).written == (ref,)
    seen = await check_invariants(rig.store)
    assert [r.status for r in seen.emails[email_id].recipients[:2]] == ["delivered", "bounced"]


async def _half_delivered(rig: Rig) -> str:
    """An e-mail with 17 queues. Of the first one, ann has the message, and bob's try is due."""
    email, content = rig.wide_email(17)
    queue = email.recipients[0].queue
    bob = Recipient(f"bob@{queue[3:]}", "to", queue)
    email = replace(email, recipients=(*email.recipients, bob))
    await acceptance.accept(rig.store, "client", prepare(rig.store, email, content))
    first = pending((await _claimed(rig, email.id, [queue]))[0], OK)
    first.result.results[bob.email] = SOFT  # type: ignore[index]
    await finish(rig.store, [first])
    await on_request.send_now(rig.store, email.id)
    return email.id


async def _bounced(rig: Rig, email_id: str) -> None:
    path = of_recipient(email_id, "ann@d0000.example", 0, "client")
    report = Bounce(status_code=550, reply_class="bad_mailbox", suppress=True)
    assert await late.late_bounce(rig.store, path, report) == "applied"


async def _complained(rig: Rig, email_id: str) -> None:
    path = of_recipient(email_id, "ann@d0000.example", 0, "client")
    assert await late.complaint(rig.store, path, Complaint()) == "applied"


async def _tagged(rig: Rig, email_id: str) -> None:
    await on_request.edit(rig.store, email_id, Edit(tags=("other",)))


async def _noted(rig: Rig, email_id: str, event: str) -> None:
    """The first part has what came back about ann, or the change of the tags."""
    seen = await check_invariants(rig.store)
    part = seen.parts[email_id][_queues(1)[0]]
    ann, bob = part.recipients
    assert [e.event for e in part.log] == ["deferred", "due_now", event, "delivered"]
    assert ann.late == (event == "bounced") and bob.status == "delivered"
    assert (ann.complained_at is not None) == (event == "complained")
    assert (seen.emails[email_id].tags == ("other",)) == (event == "changed")


CHANGES = pytest.mark.parametrize(
    ("change", "event"),
    [(_bounced, "bounced"), (_complained, "complained"), (_tagged, "changed")],
    ids=["bounce", "complaint", "tags"],
)
Change = Callable[[Rig, str], Awaitable[None]]


@CHANGES
@pytest.mark.parametrize("claimed_after", [False, True])
async def test_finish_keeps_what_others_wrote_to_its_part_though_it_knows_a_newer_record(
    rig: Rig, change: Change, event: str, claimed_after: bool
) -> None:
    """The worker knows that record from another queue's result: claimed then, or read again."""
    email_id, queues = await _half_delivered(rig), _queues(2)
    claims = await _claimed(rig, email_id, queues[: 1 if claimed_after else 2])
    await change(rig, email_id)
    if claimed_after:
        claims += await _claimed(rig, email_id, queues[1:])
    finisher = Finisher(rig.store)
    for one in reversed(claims):
        assert (await finisher.finish(one, pending(one, OK).result)).written == (one.ref,)
    await _noted(rig, email_id, event)


@CHANGES
async def test_finish_of_several_queues_keeps_what_others_wrote_between_their_claims(
    rig: Rig, change: Change, event: str
) -> None:
    email_id, queues = await _half_delivered(rig), _queues(2)
    (first,) = await _claimed(rig, email_id, queues[:1])
    await change(rig, email_id)
    (second,) = await _claimed(rig, email_id, queues[1:])
    done = await finish(rig.store, [pending(first, OK), pending(second, OK)])
    assert set(done.written) == {first.ref, second.ref}
    await _noted(rig, email_id, event)


async def test_claim_that_does_not_know_that_its_email_is_wide_reads_the_part(rig: Rig) -> None:
    email_id = await rig.send_wide(17)
    ref = JobRef(email_id, _queues(1)[0])
    got = await claim(rig.store, ref, worker_id="w1", lease_id=await lease(rig))
    assert got is not None and set(got.email.queues) == {ref.queue}
    await finish(rig.store, [pending(got, OK)])
    await check_invariants(rig.store)


async def test_reclaim_and_expire_change_one_part(rig: Rig) -> None:
    email_id = await rig.send_wide(17)
    (got,) = await _claimed(rig, email_id, _queues(1))
    again = await reclaim(rig.store, got, worker_id="w1", previous_worker_id="dead")
    assert again is not None
    late = RecipientResult("retry", "expired", reason="too late")
    ref = JobRef(email_id, _queues(2)[1])
    await on_request.expire(rig.store, ref, late, worker_id="w1")
    await finish(rig.store, [pending(again, OK)])
    seen = await check_invariants(rig.store)
    logs = {queue: [e.event for e in part.log] for queue, part in seen.parts[email_id].items()}
    assert [logs[queue] for queue in _queues(3)] == [["reclaimed", "delivered"], ["expired"], []]


async def test_reads_show_all_recipients_and_one_log(rig: Rig) -> None:
    email_id = await rig.send_wide(250)
    claims = await _claimed(rig, email_id)
    await _finished(rig, claims[:40], SOFT)
    await on_request.cancel(rig.store, email_id)
    view = await get_email(rig.store, email_id)
    assert view is not None and view.content is not None
    assert len(view.email.recipients) == len(view.email.queues) == 250
    assert view.email.not_before is None, "what waited is cancelled"
    found = await get_log(rig.store, email_id)
    assert found is not None
    events = [(entry.seq, entry.event, len(entry.attempts)) for entry in found[1]]
    assert events == [
        (0, "accepted", 0),
        (1, "deferred", 32),
        (2, "deferred", 8),
        (3, "cancelled", 0),
    ]
    (listed,) = (await list_emails(rig.store, limit=5)).emails
    assert not listed.recipients and listed.wide is not None and wide.count(listed) == 250


async def test_log_of_a_part_keeps_its_newest_entries(rig: Rig) -> None:
    email_id = await rig.send_wide(17)
    for _ in range(20):
        await _finished(rig, await _claimed(rig, email_id), HARD)
        await on_request.retry(rig.store, email_id)
    seen = await check_invariants(rig.store)
    assert {len(part.log) for part in seen.parts[email_id].values()} == {31}


async def test_retry_shortens_the_logs_of_parts_that_are_too_large_together(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    email_id = await rig.send_wide(17)
    for _ in range(4):
        await _finished(rig, await _claimed(rig, email_id), HARD)
        await on_request.retry(rig.store, email_id)
    await _finished(rig, await _claimed(rig, email_id), HARD)
    monkeypatch.setattr(writes, "_MOST_BYTES", 17 * 800)
    await on_request.retry(rig.store, email_id)
    seen = await check_invariants(rig.store)
    assert {len(part.log) for part in seen.parts[email_id].values()} == {2}


async def test_email_with_long_names_and_a_large_content_is_stored(rig: Rig) -> None:
    """Its writes together are more than etcd takes in one request."""
    label = "x" * 60
    domain = f"d{{:04}}.{label}.{label}.{label}.example"
    email, content = rig.wide_email(1000, domain=domain, body="x" * 700_000)
    new = prepare(rig.store, email, content)
    await acceptance.accept(rig.store, "client", new, idempotency_key="k", fingerprint="f")
    await check_invariants(rig.store)
    await on_request.cancel(rig.store, email.id)
    await on_request.retry(rig.store, email.id)
    seen = await check_invariants(rig.store)
    assert len(seen.jobs) == 1000


async def test_wide_email_goes_with_its_retention_lease(rig: Rig) -> None:
    email_id = await rig.send_wide(1000)
    await on_request.cancel(rig.store, email_id)
    seen = await check_invariants(rig.store)
    await rig.store.client.revoke(seen.leases[email_id])
    keys = rig.store.keys
    for prefix in (keys.emails, keys.parts, keys.failures):
        assert not (await rig.store.client.range(prefix, range_end(prefix))).kvs


async def test_parts_get_the_lease_of_a_final_email_though_one_of_them_has_gone(rig: Rig) -> None:
    """etcd refuses the change that keeps a missing key; the next one leaves out that key alone."""
    email_id = await rig.send_wide(17)
    claims = await _claimed(rig, email_id)
    before = await _finished(rig, claims[:16], OK)
    prefix, gone = rig.store.keys.email_parts(email_id), rig.store.keys.part(claims[0].ref)
    send = rig.store.client.raw_txn

    async def after_a_part_has_gone(encoded: bytes) -> object:
        rig.store.client.raw_txn = send  # type: ignore[method-assign]
        await rig.store.client.delete(gone)
        return await send(encoded)

    rig.store.client.raw_txn = after_a_part_has_gone  # type: ignore[method-assign]
    last, revision = [pending(claims[16], OK)], before.email_revision
    await finish(rig.store, last, email=before.email, email_revision=revision)
    kvs = (await rig.store.client.range(prefix, range_end(prefix))).kvs
    assert len(kvs) == 16 and 0 not in {kv.lease for kv in kvs}


async def test_email_ends_though_somebody_deleted_parts_of_it(rig: Rig) -> None:
    email_id, keys, client = await rig.send_wide(20), rig.store.keys, rig.store.client
    lost, others = _queues(20)[:2], _queues(20)[2:]
    for queue in lost:
        await client.delete(keys.part(JobRef(email_id, queue)))
    mine = await lease(rig)
    for queue in lost:
        ref = JobRef(email_id, queue)
        assert not await claim(rig.store, ref, worker_id="w1", lease_id=mine, has_part=True)
        assert not await client.get_many([keys.job(ref), keys.owner(ref)])
    await _finished(rig, await _claimed(rig, email_id, others), OK)
    email = await get_email(rig.store, email_id)
    assert email is not None and email.email.status == "failed"
    assert email.email.status_reason == (
        "2 of 20 recipients not reached: 2 expired after no tries (internal)"
    )
