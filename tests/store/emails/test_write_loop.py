"""How a change is written: the leases that a final e-mail hangs on."""

from __future__ import annotations

from babygun.store.emails.finish import finish
from babygun.store.emails.on_request import retry
from babygun.store.keys import range_end
from tests.store.emails.steps import HARD, OK, claimed, pending
from tests.support.invariants import check_invariants
from tests.support.rig import Rig, changed, rig_for
from tests.support.tries import failed_softly


async def test_email_that_becomes_final_has_all_of_its_log_on_the_lease(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    await failed_softly(rig.store, email_id, "main")
    sent = rig.store.batcher.txns
    claim = await claimed(rig, email_id)
    assert (await finish(rig.store, [pending(claim, HARD)])).written
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
    assert await rig.events(email_id) == ["accepted", "deferred", "bounced", "retried"]


async def test_finish_whose_retention_lease_was_revoked_gets_another(rig: Rig) -> None:
    first = await rig.send("ann@example.org")
    await finish(rig.store, [pending(await claimed(rig, first), OK)])
    await rig.store.client.revoke(rig.store.record_leases._lease_id)
    second = await rig.send("ann@example.org")
    assert (await finish(rig.store, [pending(await claimed(rig, second), OK)])).written
    assert (await rig.get(second)).status == "complete"


async def test_contents_of_a_delivered_email_go_at_once_with_no_retention(rig: Rig) -> None:
    async with rig_for(changed(rig.settings, contents_retention=0.0)) as rig0:
        delivered, failed = (
            await rig0.send("ann@example.org", body="x" * 1_000_000),
            await rig0.send("ann@example.org"),
        )
        await finish(rig0.store, [pending(await claimed(rig0, delivered), OK)])
        await finish(rig0.store, [pending(await claimed(rig0, failed), HARD)])
        assert list((await check_invariants(rig0.store)).chunks) == [failed]
