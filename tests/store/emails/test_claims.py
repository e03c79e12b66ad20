"""A worker's claims: races, lost answers, and what must be refused."""

from __future__ import annotations

import asyncio

import pytest

from babygun.errors import LeaseNotFound
from babygun.store.emails.claims import claim, reclaim, release
from babygun.store.emails.finish import finish
from babygun.store.keys import JobRef
from tests.store.emails.steps import OK, claimed, lease, pending
from tests.support.invariants import check_invariants
from tests.support.processes import PATIENCE
from tests.support.proxy import proxy_to
from tests.support.rig import Rig, changed, rig_for


async def test_claim_by_two_workers_at_once_is_won_by_one(rig: Rig) -> None:
    leases = [await lease(rig) for _ in range(8)]
    for _ in range(10):
        ref = JobRef(await rig.send("ann@example.org"), "main")
        claims = await asyncio.gather(
            *(claim(rig.store, ref, worker_id=f"w{n}", lease_id=leases[n]) for n in range(8))
        )
        assert sum(c is not None for c in claims) == 1


async def test_claim_hands_the_record_and_the_content_over(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org", subject="hi", body="text")
    got = await claimed(rig, email_id)
    assert got.email.id == email_id and got.content.body == "text" and got.content.subject == "hi"


async def test_claim_under_a_lease_that_is_gone_raises_and_owns_nothing(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    with pytest.raises(LeaseNotFound):
        await claim(rig.store, JobRef(email_id, "main"), worker_id="w1", lease_id=123456789)
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
        )
        is None
    )
    seen = await check_invariants(rig.store)
    assert not seen.jobs and not seen.owners


async def test_claim_whose_answer_is_lost_is_the_same_claim(rig: Rig) -> None:
    async with (
        proxy_to(rig.settings.etcd_endpoints[0]) as proxy,
        rig_for(changed(rig.settings, etcd_endpoints=(proxy.url,), etcd_timeout=PATIENCE)) as far,
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
            )
        )
        await rig.owned(email_id)
        proxy.cut()  # the answer is lost with its connection
        proxy.mend()
        got = await asyncio.wait_for(claiming, PATIENCE)
        assert got is not None
        assert (await finish(far.store, [pending(got, OK)])).written


async def test_release_frees_the_job_and_the_watchers_see_it(rig: Rig) -> None:
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


async def test_reclaim_is_logged_with_the_dead_workers_id(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    got = await claimed(rig, email_id, "new")
    taken = await reclaim(rig.store, got, worker_id="new", previous_worker_id="dead")
    assert taken is not None
    assert (await finish(rig.store, [pending(taken, OK, "new")])).written
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
