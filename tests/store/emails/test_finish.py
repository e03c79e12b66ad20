"""The end of tries: who may write a result, races, lost answers."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from babygun.store import codec
from babygun.store.emails.finish import PendingResult, finish
from babygun.store.emails.schedule import make_due
from babygun.store.keys import range_end
from tests.store.emails.steps import HARD, HELD, OK, SOFT, claimed, lease, pending
from tests.support.faulty_etcd import Fault, FaultyProcess
from tests.support.invariants import check_invariants
from tests.support.processes import PATIENCE
from tests.support.proxy import proxy_to
from tests.support.rig import Rig, changed, rig_for


async def test_finish_by_a_former_owner_is_dropped_once_another_owns_the_job(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    old_lease = await lease(rig)
    old = await claimed(rig, email_id, "old", old_lease)
    await rig.store.client.revoke(old_lease)
    new = await claimed(rig, email_id, "new")
    done = await finish(rig.store, [pending(old, HARD, "old")])
    assert done.dropped and not done.written
    done = await finish(rig.store, [pending(new, OK, "new")])
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
    await finish(rig.store, [pending(await claimed(rig, email_id, "new"), SOFT, "new")])
    assert (await finish(rig.store, [pending(old, OK, "old")])).dropped
    assert (await rig.get(email_id)).recipients[0].status == "deferred"
    await check_invariants(rig.store)


async def test_finish_after_a_stall_still_counts_where_nobody_took_over(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    old_lease = await lease(rig)
    old = await claimed(rig, email_id, "old", old_lease)
    await rig.store.client.revoke(old_lease)
    done = await finish(rig.store, [pending(old, OK, "old")])
    assert done.written and (await rig.get(email_id)).status == "complete"
    await check_invariants(rig.store)


async def test_finish_of_a_second_try_after_a_stall_counts_though_the_job_was_put_back(
    rig: Rig,
) -> None:
    """The hold takes the not-before time of the first try away. Nobody has sent the queue since."""
    email_id = await rig.send("ann@example.org")
    await finish(rig.store, [pending(await claimed(rig, email_id), SOFT)])
    prefix = rig.store.keys.waiting
    (waits,) = (await rig.store.client.range(prefix, range_end(prefix))).kvs
    await make_due(rig.store, waits.key, waits.value)
    mine = await lease(rig)
    old = await claimed(rig, email_id, "old", mine)
    await rig.store.client.revoke(mine)
    await finish(rig.store, [pending(await claimed(rig, email_id, "new"), HELD, "new")])
    assert (await finish(rig.store, [pending(old, OK, "old")])).written
    assert (await rig.get(email_id)).status == "complete"
    await check_invariants(rig.store)


async def test_finish_after_a_stall_counts_though_another_queue_has_finished(
    two_queues: Rig,
) -> None:
    email_id = await two_queues.send("x@a.example", "y@b.example")
    old_lease = await lease(two_queues)
    old = await claimed(two_queues, email_id, "old", old_lease, "a")
    await two_queues.store.client.revoke(old_lease)
    assert (
        await finish(
            two_queues.store, [pending(await claimed(two_queues, email_id, queue="b"), OK)]
        )
    ).written
    assert (await finish(two_queues.store, [pending(old, OK, "old")])).written
    assert (await two_queues.get(email_id)).status == "complete"
    await check_invariants(two_queues.store)


async def test_finish_on_a_record_that_moved_decides_again(two_queues: Rig) -> None:
    email_id = await two_queues.send("x@a.example", "y@b.example")
    a, b = (
        await claimed(two_queues, email_id, queue="a"),
        await claimed(two_queues, email_id, queue="b"),
    )
    first, second = await asyncio.gather(
        finish(two_queues.store, [pending(a, OK)]), finish(two_queues.store, [pending(b, HARD)])
    )
    assert first.written and second.written
    email = await two_queues.get(email_id)
    assert (email.status, [r.status for r in email.recipients], email.log_seq) == (
        "failed",
        ["delivered", "bounced"],
        2,
    )
    await check_invariants(two_queues.store)


async def test_acceptance_and_an_end_are_as_few_writes_as_can_be(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    log = rig.store.keys.log(email_id)
    assert not (await rig.store.client.range(log, range_end(log))).kvs, (
        "the record shows its acceptance"
    )
    assert (await finish(rig.store, [pending(await claimed(rig, email_id), OK)])).written
    assert not (await rig.store.client.range(log, range_end(log))).kvs, (
        "and of an end that comes at once"
    )
    assert await rig.events(email_id) == ["accepted", "delivered"]
    await check_invariants(rig.store)


async def test_finish_whose_answer_is_lost_is_written_once(rig: Rig) -> None:
    async with (
        proxy_to(rig.settings.etcd_endpoints[0]) as proxy,
        rig_for(changed(rig.settings, etcd_endpoints=(proxy.url,), etcd_timeout=PATIENCE)) as far,
    ):
        email_id = await rig.send("ann@example.org")
        got = await claimed(far, email_id)
        await far.store.record_leases.lease(1)
        proxy.swallow_answers()
        finishing = asyncio.create_task(finish(far.store, [pending(got, OK)]))
        await rig.ended(email_id)
        proxy.cut()  # the answer is lost with its connection
        proxy.mend()
        done = await asyncio.wait_for(finishing, PATIENCE)
    assert done.written and not done.dropped
    assert await rig.events(email_id) == ["accepted", "delivered"]
    await check_invariants(rig.store)


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_hold_after_a_stall_is_logged_though_a_request_of_its_finish_was_lost(
    rig: Rig, number: int
) -> None:
    """It leaves the queue as it was, so that nothing but the record says whether it is written."""
    email_id = await rig.send("ann@example.org")
    mine = await lease(rig)
    claim = await claimed(rig, email_id, "w1", mine)
    await rig.store.client.revoke(mine)
    process = FaultyProcess(rig.settings)
    await process.store.start()
    try:
        faults: dict[int, Fault] = {number: "lost"}
        done = await process.do(lambda store: finish(store, [pending(claim, HELD)]), faults=faults)
    finally:
        await process.close()
    assert done.written == (claim.ref,)
    assert await rig.events(email_id) == ["accepted", "held"]


async def test_finish_with_the_most_recipients_and_chunks_fits_etcds_limits(rig: Rig) -> None:
    recipients = [
        f"{'r' * 50}{n:04d}@{'d' * 60}.{'e' * 60}.{'f' * 60}.example" for n in range(1000)
    ]
    email_id = await rig.send(*recipients, body="x" * 25_000_000)
    got = await claimed(rig, email_id)
    assert got.email.chunks >= 32
    refusal = replace(SOFT, reason="\u00fc" * 4000)
    outcome = pending(got, SOFT)
    results = {
        address: replace(refusal, reason=f"{n} {refusal.reason}")
        for n, address in enumerate(recipients)
    }
    assert (
        await finish(rig.store, [PendingResult(got, replace(outcome.result, results=results))])
    ).written
    await check_invariants(rig.store)
    assert len(codec.encode_state(await rig.get(email_id))) > 400_000
