"""Cancel, retry and send-now: races with workers, and what must be refused."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from babygun.email import lifecycle
from babygun.email.edit import Edit
from babygun.email.model import Email
from babygun.email.transition import Transition
from babygun.errors import Conflict, NotFound
from babygun.intake.ids import new_email_id
from babygun.runtime.clock import utc_now
from babygun.store.emails import parts
from babygun.store.emails.change import Parts, Seen, change_record
from babygun.store.emails.claims import claim
from babygun.store.emails.finish import finish
from babygun.store.emails.on_request import cancel, edit, retry, send_now
from babygun.store.emails.reading import get_log
from babygun.store.keys import JobRef, range_end
from tests.store.emails.steps import HARD, OK, SOFT, claimed, lease, pending
from tests.support.invariants import check_invariants
from tests.support.rig import Rig
from tests.support.tries import failed_softly


async def test_email_whose_log_has_a_gap_is_cancelled_and_retried_all_the_same(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    await failed_softly(rig.store, email_id, "main")
    await rig.store.client.delete(rig.store.keys.log_entry(email_id, 1))
    assert (await cancel(rig.store, email_id)).status == "cancelled"
    assert (await retry(rig.store, email_id)).status == "incomplete"
    assert (await finish(rig.store, [pending(await claimed(rig, email_id), OK)])).written
    assert await rig.events(email_id) == ["accepted", "cancelled", "retried", "delivered"]


async def test_log_of_an_email_that_is_retried_after_its_end_is_whole(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    assert (await finish(rig.store, [pending(await claimed(rig, email_id), HARD)])).written
    [_, bounced] = await rig.log(email_id)
    await retry(rig.store, email_id, client_id="other")
    await check_invariants(rig.store)
    assert (await rig.log(email_id))[1] == bounced
    assert (await finish(rig.store, [pending(await claimed(rig, email_id), HARD)])).written
    await check_invariants(rig.store)
    log = rig.store.keys.log(email_id)
    assert [bool(kv.lease) for kv in (await rig.store.client.range(log, range_end(log))).kvs] == [
        True
    ] * 3
    await retry(rig.store, email_id)
    assert await rig.events(email_id) == ["accepted", "bounced", "retried", "bounced", "retried"]
    await check_invariants(rig.store)


async def test_cancel_of_what_waits_and_of_what_is_ready(rig: Rig) -> None:
    ready = await rig.send("ann@example.org")
    waiting = await rig.send("ann@example.org")
    await finish(rig.store, [pending(await claimed(rig, waiting), SOFT)])
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
    assert (await finish(rig.store, [pending(got, OK)])).written


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
            claim(rig.store, ref, worker_id="w1", lease_id=lease_id),
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
    await finish(rig.store, [pending(await claimed(rig, email_id), HARD)])
    assert (await check_invariants(rig.store)).failed == {email_id}
    await retry(rig.store, email_id)
    seen = await check_invariants(rig.store)
    assert not seen.failed and seen.jobs == {JobRef(email_id, "main")}
    kept = await rig.store.client.range(rig.store.keys.prefix, rig.store.keys.prefix + b"\xff")
    assert all(kv.lease == 0 for kv in kept.kvs if email_id.encode() in kv.key)
    await finish(rig.store, [pending(await claimed(rig, email_id), OK)])
    assert (await rig.get(email_id)).status == "complete"
    await check_invariants(rig.store)


async def test_retry_of_an_email_whose_content_is_gone_says_so(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    await finish(rig.store, [pending(await claimed(rig, email_id), HARD)])
    await rig.store.client.delete(rig.store.keys.chunk(email_id, 0))
    with pytest.raises(Conflict, match="content is not kept"):
        await retry(rig.store, email_id)


async def test_wide_email_that_waits_is_sent_now_as_a_whole_with_one_log_entry_a_page(
    rig: Rig,
) -> None:
    email_id = await rig.send_wide(300, send_at=utc_now() + timedelta(days=1))
    assert not (await check_invariants(rig.store)).jobs
    await send_now(rig.store, email_id, client_id="shop", request_id="r1")
    seen = await check_invariants(rig.store)
    assert len(seen.jobs) == 300 and not seen.waiting
    with pytest.raises(Conflict):
        await send_now(rig.store, email_id)


async def test_send_now_of_a_deferred_email_uses_no_try_and_says_who_asked(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    got = await claimed(rig, email_id)
    await finish(rig.store, [pending(got, SOFT)])
    email = await send_now(rig.store, email_id, client_id="shop", request_id="r1")
    assert (email.tries, email.not_before, email.status) == (1, None, "incomplete")
    seen = await check_invariants(rig.store)
    assert len(seen.jobs) == 1 and not seen.waiting
    found = await get_log(rig.store, email_id)
    assert found is not None
    entry = found[1][-1]
    assert (entry.event, entry.client_id, entry.request_id) == ("due_now", "shop", "r1")
    await claimed(rig, email_id)
    with pytest.raises(Conflict):
        await send_now(rig.store, email_id)


async def test_edit_moves_what_waits_and_keeps_what_the_log_says(rig: Rig) -> None:
    sooner, later = (utc_now().replace(microsecond=0) + timedelta(days=n) for n in (1, 2))
    email_id = await rig.send("ann@example.org", send_at=sooner)
    context = {"client_id": "shop", "request_id": "r1"}
    await edit(rig.store, email_id, Edit(later, ("vip",), {"order": "1"}), **context)
    await edit(rig.store, email_id, Edit(later, ("vip",)), **context)  # as it is already
    email = await rig.get(email_id)
    assert (email.send_at, email.not_before, email.tags) == (later, later, ("vip",))
    assert email.metadata == {"order": "1"}
    seen = await check_invariants(rig.store)
    assert not seen.jobs and set(seen.waiting) == {JobRef(email_id, "main")}
    accepted, changed = await rig.log(email_id)
    assert accepted.reason == f"to be sent at {sooner.isoformat()}"
    assert (changed.event, changed.client_id, changed.request_id) == ("changed", "shop", "r1")
    assert changed.reason == f"to be sent at {later.isoformat()}; other tags; other metadata"
    await edit(rig.store, email_id, Edit(utc_now()))
    assert (await check_invariants(rig.store)).jobs == {JobRef(email_id, "main")}
    with pytest.raises(Conflict, match="does not wait for its first try"):
        await edit(rig.store, email_id, Edit(later))


async def test_tags_can_change_while_an_email_is_sent_and_its_result_counts(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    got = await claimed(rig, email_id)
    await edit(rig.store, email_id, Edit(tags=("vip",)))
    await finish(rig.store, [pending(got, OK)])
    email = await rig.get(email_id)
    assert (email.status, email.tags) == ("complete", ("vip",))
    assert await rig.events(email_id) == ["accepted", "changed", "delivered"]
    await check_invariants(rig.store)
    with pytest.raises(Conflict, match="complete already"):
        await edit(rig.store, email_id, Edit(tags=()))


async def test_wide_email_that_waits_gets_another_time_as_a_whole(rig: Rig) -> None:
    later = utc_now().replace(microsecond=0) + timedelta(days=2)
    email_id = await rig.send_wide(300, send_at=utc_now() + timedelta(days=1))
    await edit(rig.store, email_id, Edit(later, tags=("vip",)))
    seen = await check_invariants(rig.store)
    assert not seen.jobs and len(seen.waiting) == 300
    await edit(rig.store, email_id, Edit(tags=("other",)))
    await check_invariants(rig.store)
    found = await get_log(rig.store, email_id)
    assert found is not None
    assert {entry.event for entry in found[1]} == {"accepted", "changed"}
    assert found[1][-1].reason == "other tags"


async def test_wide_email_whose_recipients_can_not_all_be_changed_is_a_conflict_that_says_so(
    rig: Rig,
) -> None:
    sooner, later = (utc_now().replace(microsecond=0) + timedelta(days=n) for n in (1, 2))

    def hurry(seen: Seen) -> Transition:
        return lifecycle.send_now(seen.email, sending=seen.sending, now=utc_now())

    first_due, last_due = [await rig.send_wide(300, send_at=sooner) for _ in range(2)]
    await change_record(rig.store, first_due, hurry, Parts())
    with pytest.raises(Conflict, match=r"^the e-mail does not wait for its first try"):
        await edit(rig.store, first_due, Edit(sooner))  # what the other page has already
    with pytest.raises(Conflict, match=r"^the e-mail does not wait for its first try"):
        await edit(rig.store, first_due, Edit(sooner, tags=("vip",)))
    assert (await rig.get(first_due)).tags == ()

    queues = sorted(await parts.queues_of(rig.store, last_due))
    await change_record(rig.store, last_due, hurry, Parts(after=queues[parts.PAGE - 1]))
    with pytest.raises(Conflict, match=r"^some recipients are changed, and others can't be: the"):
        await edit(rig.store, last_due, Edit(later))
    assert (await rig.get(last_due)).send_at == later
    seen = await check_invariants(rig.store)
    assert (len(seen.waiting), len(seen.jobs)) == (300, 300)
