"""Late bounces and complaints, in a real etcd: the record and all that hangs on it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from babygun.email.bounces import Bounce, Complaint
from babygun.email.email_events import EmailEvent
from babygun.email.return_path import ReturnPath, of_queue, of_recipient
from babygun.email.suppression import Suppression
from babygun.errors import Conflict
from babygun.etcd import delete, delete_range
from babygun.etcd.txn import Txn
from babygun.runtime.clock import utc_now
from babygun.store import Store, codec
from babygun.store.access.clients import create_client, delete_client
from babygun.store.emails import late, on_request, reading
from babygun.store.emails.acceptance import accept
from babygun.store.emails.finish import finish
from babygun.store.emails.late import complaint, late_bounce
from babygun.store.emails.new_email import prepare
from babygun.store.erasure.emails import NOBODY, erase_in_email
from babygun.store.keys import range_end
from babygun.store.records import Client
from babygun.store.suppressions.suppressions import add, get_one
from babygun.store.upkeep import end_marks, removal
from babygun.store.webhooks.change import create_webhook
from tests.store.emails.steps import HARD, OK, SOFT, claimed, pending
from tests.support.faulty_etcd import FaultyProcess
from tests.support.invariants import check_invariants
from tests.support.outbox_invariants import _decode_event
from tests.support.processes import PATIENCE
from tests.support.rig import Rig, changed

NO_MAILBOX = Bounce(
    status_code=550,
    enhanced_code="5.1.1",
    reason="no such user",
    reply_class="bad_mailbox",
    suppress=True,
    reporter="mx.example.org",
)


def path(email_id: str, address: str = "ann@example.org", retried: int = 0) -> ReturnPath:
    return of_recipient(email_id, address, retried, "client")


async def delivered(rig: Rig, *to: str) -> str:
    await with_client(rig)
    email_id = await rig.send(*(to or ("ann@example.org",)))
    await finish(rig.store, [pending(await claimed(rig, email_id), OK)])
    return email_id


async def with_client(rig: Rig) -> None:
    client = Client("client", "tests", (), "", utc_now())
    await rig.store.client.put(rig.store.keys.client("client"), codec.encode_state(client))


async def with_webhook(rig: Rig) -> None:
    await with_client(rig)
    await create_webhook(rig.store, "client", url="https://shop.example/hook")


async def events(rig: Rig) -> list[EmailEvent]:
    """Of the notices that are ready."""
    seen = await check_invariants(rig.store)
    found = [_decode_event(notice.event) for notice in seen.outbox.notices.values()]
    return sorted(found, key=lambda event: event.data.event_id)


async def types(rig: Rig) -> list[str]:
    return [event.type for event in await events(rig)]


async def test_late_bounce_writes_record_log_suppression_and_notices(rig: Rig) -> None:
    await with_webhook(rig)
    email_id = await delivered(rig)
    assert await late_bounce(rig.store, path(email_id), NO_MAILBOX) == "applied"
    email = await rig.get(email_id)
    (recipient,) = email.recipients
    assert (email.status, recipient.status, recipient.late) == ("failed", "bounced", True)
    assert (recipient.status_code, recipient.status_reason) == (550, "no such user")
    assert await rig.events(email_id) == ["accepted", "delivered", "bounced"]
    found = await get_one(rig.store, "client", "ann@example.org")
    assert found is not None and (found.reason, found.email_id) == ("hard_bounce", email_id)
    assert await types(rig) == ["accepted", "delivered", "bounced"]
    last = (await events(rig))[-1]
    assert last.data.late and last.data.reason == "a bounce message came back, from mx.example.org"


async def test_second_copy_of_a_bounce_message_changes_nothing(rig: Rig) -> None:
    email_id = await delivered(rig)
    await late_bounce(rig.store, path(email_id), NO_MAILBOX)
    before = await check_invariants(rig.store)
    assert await late_bounce(rig.store, path(email_id), NO_MAILBOX) == "already"
    assert (await check_invariants(rig.store)).modified == before.modified
    assert list(before.suppressions) == [("client", "*", "ann@example.org")]


async def test_message_about_a_recipient_erased_meanwhile_is_about_nobody(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    email_id = await delivered(rig, "ann@example.org", "bob@example.org")
    find = late._find

    async def then_erased(*arguments: Any) -> Any:
        found = await find(*arguments)
        await erase_in_email(rig.store, email_id, "ann@example.org", asker=NOBODY)
        return found

    monkeypatch.setattr(late, "_find", then_erased)
    assert await late_bounce(rig.store, path(email_id), NO_MAILBOX) == "unknown"
    assert await complaint(rig.store, path(email_id), Complaint()) == "unknown"
    assert await rig.events(email_id) == ["accepted", "delivered", "erased"]
    assert not (await check_invariants(rig.store)).suppressions


async def test_bounce_messages_that_come_together_are_written_once(rig: Rig) -> None:
    async with Store(rig.settings) as other:
        email_id = await delivered(rig, "ann@example.org", "bob@example.org")
        found = await asyncio.gather(
            late_bounce(rig.store, path(email_id), NO_MAILBOX),
            late_bounce(other, path(email_id), NO_MAILBOX),
            late_bounce(rig.store, path(email_id, "bob@example.org"), NO_MAILBOX),
            complaint(other, path(email_id), Complaint()),
        )
    assert sorted(found) == ["already", "applied", "applied", "applied"]
    await check_invariants(rig.store)
    log = await rig.events(email_id)
    assert log[:2] == ["accepted", "delivered"]
    assert sorted(log[2:]) == ["bounced", "bounced", "complained"]


async def test_bounce_that_is_no_dead_mailbox_or_that_settings_ignore_suppresses_nobody(
    rig: Rig,
) -> None:
    full = Bounce(status_code=552, reply_class="mailbox_full")
    async with Store(changed(rig.settings, suppress_hard_bounces=0.0)) as ignoring:
        for store, report in ((rig.store, full), (ignoring, NO_MAILBOX)):
            email_id = await delivered(rig)
            assert await late_bounce(store, path(email_id), report) == "applied"
    assert not (await check_invariants(rig.store)).suppressions


async def test_late_bounce_while_another_queue_is_sent_leaves_its_job_and_its_owner(
    two_queues: Rig,
) -> None:
    rig = two_queues
    email_id = await rig.send("ann@a.example", "bob@b.example")
    await finish(rig.store, [pending(await claimed(rig, email_id, queue="a"), OK)])
    under_way = await claimed(rig, email_id, queue="b")
    assert await late_bounce(rig.store, path(email_id, "ann@a.example"), NO_MAILBOX) == "applied"
    seen = await check_invariants(rig.store)
    assert [ref.queue for ref in seen.owners] == ["b"]
    assert (await rig.get(email_id)).status == "incomplete"
    done = await finish(rig.store, [pending(under_way, OK)])
    assert done.written and done.email is not None and done.email.status == "failed"
    assert await rig.events(email_id) == ["accepted", "delivered", "bounced", "delivered"]
    await check_invariants(rig.store)


async def test_result_of_a_stall_counts_though_somebody_in_the_queue_bounced_late(
    rig: Rig,
) -> None:
    email_id = await rig.send("ann@example.org", "bob@example.org")
    first = pending(await claimed(rig, email_id), OK)
    first.result.results["bob@example.org"] = SOFT  # type: ignore[index]
    await finish(rig.store, [first])
    await on_request.send_now(rig.store, email_id)
    lease = await rig.store.client.grant(600)
    stalled = await claimed(rig, email_id, lease_id=lease)
    await rig.store.client.revoke(lease)
    assert await late_bounce(rig.store, path(email_id), NO_MAILBOX) == "applied"
    done = await finish(rig.store, [pending(stalled, OK)])
    assert done.written and not done.dropped
    statuses = {r.email: r.status for r in (await rig.get(email_id)).recipients}
    assert statuses == {"ann@example.org": "bounced", "bob@example.org": "delivered"}
    await check_invariants(rig.store)


async def test_late_bounce_of_a_cancelled_email_leaves_it_cancelled(two_queues: Rig) -> None:
    rig = two_queues
    email_id = await rig.send("ann@a.example", "bob@b.example")
    await finish(rig.store, [pending(await claimed(rig, email_id, queue="a"), OK)])
    await on_request.cancel(rig.store, email_id)
    assert await late_bounce(rig.store, path(email_id, "ann@a.example"), NO_MAILBOX) == "applied"
    assert await late_bounce(rig.store, path(email_id, "bob@b.example"), NO_MAILBOX) == "already"
    email = await rig.get(email_id)
    assert (email.status, [r.status for r in email.recipients]) == (
        "cancelled",
        ["bounced", "cancelled"],
    )
    await check_invariants(rig.store)


async def test_bounce_message_that_is_faster_than_its_result_waits_for_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "_LOOK_AGAIN", 0.01)
    monkeypatch.setattr(late, "_PATIENCE", PATIENCE)
    email_id = await rig.send("ann@example.org")
    got = await claimed(rig, email_id)
    task = asyncio.create_task(late_bounce(rig.store, path(email_id), NO_MAILBOX))
    await finish(rig.store, [pending(got, OK)])
    assert await task == "applied"
    await check_invariants(rig.store)


async def test_bounce_message_without_a_result_of_its_try_is_to_come_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "_PATIENCE", 0.0)
    email_id = await rig.send("ann@example.org")
    assert await late_bounce(rig.store, path(email_id), NO_MAILBOX) == "too_early"
    assert (await rig.get(email_id)).log_seq == 0


async def test_retry_after_a_late_bounce_ignores_what_is_about_the_first_delivery(
    rig: Rig,
) -> None:
    email_id = await delivered(rig)
    full = Bounce(status_code=552, reply_class="mailbox_full")
    await late_bounce(rig.store, path(email_id), full)
    await on_request.retry(rig.store, email_id)
    await check_invariants(rig.store)
    await finish(rig.store, [pending(await claimed(rig, email_id), OK)])
    assert await late_bounce(rig.store, path(email_id), full) == "already"
    assert (await rig.get(email_id)).status == "complete"
    assert await late_bounce(rig.store, path(email_id, retried=1), full) == "applied"
    await check_invariants(rig.store)


async def test_late_bounce_of_a_wide_email_writes_one_part(rig: Rig) -> None:
    email_id = await rig.send_wide(20)
    email = (await reading.get_email(rig.store, email_id)).email  # type: ignore[union-attr]
    for queue in email.queues:
        await finish(rig.store, [pending(await claimed(rig, email_id, queue=queue), OK)])
    before = await check_invariants(rig.store)
    assert before.emails[email_id].status == "complete"
    recipient = email.recipients[7]
    assert await late_bounce(rig.store, path(email_id, recipient.email), NO_MAILBOX) == "applied"
    assert await late_bounce(rig.store, path(email_id, recipient.email), NO_MAILBOX) == "already"
    of_all = of_queue(email_id, email.recipients[9].queue, 0, "client")
    assert await late_bounce(rig.store, of_all, NO_MAILBOX) == "applied"
    after = (await check_invariants(rig.store)).emails[email_id]
    assert after.status == "failed"
    late_ones = [r.email for r in after.recipients if r.late]
    assert late_ones == [recipient.email, email.recipients[9].email]
    reason = "2 of 20 recipients not reached: 2 bounced late (bad_mailbox)"
    assert (await rig.get(email_id)).status_reason == reason


async def test_content_of_an_email_that_bounced_late_is_kept_as_of_one_that_failed(
    rig: Rig,
) -> None:
    email_id = await delivered(rig)
    kept = rig.store.keys.retention_kind("delivered")
    old = end_marks.read(rig.store.keys, (await rig.store.client.range(kept, range_end(kept))).kvs)
    await late_bounce(rig.store, path(email_id), NO_MAILBOX)
    # A worker that has read the old mark deletes nothing by it.
    await end_marks.delete_contents(
        rig.store.client, rig.store.batcher, rig.store.keys, "delivered", old
    )
    seen = await check_invariants(rig.store)
    assert (seen.ends[email_id], seen.chunks[email_id]) == ("undelivered", 1)
    await on_request.retry(rig.store, email_id)


async def test_late_bounce_after_the_content_is_gone_brings_no_end_mark(rig: Rig) -> None:
    email_id = await delivered(rig)
    kept = rig.store.keys.retention_kind("delivered")
    marks = end_marks.read(
        rig.store.keys, (await rig.store.client.range(kept, range_end(kept))).kvs
    )
    await end_marks.delete_contents(
        rig.store.client, rig.store.batcher, rig.store.keys, "delivered", marks
    )
    assert await late_bounce(rig.store, path(email_id), NO_MAILBOX) == "applied"
    seen = await check_invariants(rig.store)
    assert email_id not in seen.ends and email_id not in seen.chunks
    with pytest.raises(Conflict, match="content is not kept"):
        await on_request.retry(rig.store, email_id)


async def test_recipient_that_was_refused_at_once_stays_as_it_is(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    await finish(rig.store, [pending(await claimed(rig, email_id), HARD)])
    assert await late_bounce(rig.store, path(email_id), NO_MAILBOX) == "already"
    assert not (await rig.get(email_id)).recipients[0].late


async def test_address_that_is_no_recipient_is_unknown(rig: Rig) -> None:
    email_id = await delivered(rig)
    assert await late_bounce(rig.store, path(email_id, "eve@example.org"), NO_MAILBOX) == "unknown"


# Complaints


async def test_complaint_suppresses_for_good_and_gives_an_event_once(rig: Rig) -> None:
    await with_webhook(rig)
    email_id = await delivered(rig)
    report = Complaint(reporter="fbl.example.org")
    assert await complaint(rig.store, path(email_id), report) == "applied"
    assert await complaint(rig.store, path(email_id), report) == "already"
    email = await rig.get(email_id)
    assert email.status == "complete" and email.recipients[0].complained_at is not None
    found = await get_one(rig.store, "client", "ann@example.org")
    assert found is not None and (found.reason, found.until) == ("complaint", None)
    assert await types(rig) == ["accepted", "delivered", "complained"]
    assert await rig.events(email_id) == ["accepted", "delivered", "complained"]


@pytest.mark.parametrize(
    ("there", "stays"),
    [
        (Suppression("hard_bounce", utc_now(), utc_now() + timedelta(days=9)), False),
        (Suppression("unsubscribe", utc_now()), True),
        (Suppression("manual", utc_now(), utc_now() + timedelta(days=1)), False),
    ],
    ids=["bounce", "unsubscribed", "for a day"],
)
async def test_complaint_takes_the_place_of_what_holds_for_less(
    rig: Rig, there: Suppression, stays: bool
) -> None:
    email_id = await delivered(rig)
    await add(rig.store, "client", "ann@example.org", there)
    assert await complaint(rig.store, path(email_id), Complaint()) == "applied"
    found = await get_one(rig.store, "client", "ann@example.org")
    assert found is not None and (found == there) == stays
    await check_invariants(rig.store)


async def test_complaint_of_a_wide_email_is_in_its_part(rig: Rig) -> None:
    email_id = await rig.send_wide(20)
    email = (await reading.get_email(rig.store, email_id)).email  # type: ignore[union-attr]
    address = email.recipients[3].email
    assert await complaint(rig.store, path(email_id, address), Complaint()) == "applied"
    after = (await check_invariants(rig.store)).emails[email_id]
    assert [r.email for r in after.recipients if r.complained_at] == [address]
    assert after.status == "incomplete"


async def of_a_client(rig: Rig, identity: str = "") -> tuple[str, str]:
    """The client ``shop``, made if there is no ``identity``, and a delivered e-mail of it."""
    if not identity:
        client, _ = await create_client(rig.store, name="shop", scopes=(), client_id="shop")
        identity = client.identity
    email, content = rig.email("ann@example.org")
    new = prepare(rig.store, replace(email, client_id=identity), content)
    await accept(rig.store, identity, new)
    await finish(rig.store, [pending(await claimed(rig, email.id), OK)])
    return identity, email.id


@pytest.mark.parametrize("again", [False, True], ids=["gone", "another one of its id"])
async def test_what_comes_back_after_its_client_was_deleted_suppresses_nobody(
    rig: Rig, again: bool
) -> None:
    client, first = await of_a_client(rig)
    _, second = await of_a_client(rig, client)
    assert await delete_client(rig.store, "shop")
    if again:
        await create_client(rig.store, name="shop", scopes=(), client_id="shop")
    await removal.go_on(rig.store)
    one, other = (of_recipient(each, "ann@example.org", 0, client) for each in (first, second))
    assert await complaint(rig.store, one, Complaint()) == "applied"
    assert await late_bounce(rig.store, other, NO_MAILBOX) == "applied"
    seen = await check_invariants(rig.store)
    assert not [key for key in seen.keys if client.encode() in key]
    assert seen.emails[first].recipients[0].complained_at is not None


@pytest.mark.parametrize("number", range(1, 6))
async def test_complaint_while_its_client_is_deleted_leaves_no_suppression(
    rig: Rig, number: int
) -> None:
    client, email_id = await of_a_client(rig)
    process = FaultyProcess(rig.settings)
    await process.store.start()

    async def deleted() -> None:
        await delete_client(rig.store, "shop")
        await removal.go_on(rig.store)

    path = of_recipient(email_id, "ann@example.org", 0, client)
    said = await process.do(
        lambda store: complaint(store, path, Complaint()), meanwhile={number: deleted}
    )
    await process.close()
    await deleted()
    assert said == "applied" and not (await check_invariants(rig.store)).suppressions


# Without a record


async def without_record(rig: Rig) -> str:
    """A delivered e-mail whose record is gone. Its client is there."""
    email_id = await delivered(rig)
    keys = rig.store.keys
    await with_client(rig)
    content, log = keys.content(email_id), keys.log(email_id)
    marks = keys.retention_kind("delivered")
    await rig.store.client.txn(
        Txn(
            [],
            [
                delete(keys.email(email_id)),
                delete_range(content, range_end(content)),
                delete_range(log, range_end(log)),
                delete_range(marks, range_end(marks)),
            ],
        )
    )
    return email_id


async def test_bounce_of_a_gone_record_is_one_event_alone(rig: Rig) -> None:
    email_id = await without_record(rig)
    await with_webhook(rig)
    report = Bounce(addresses=("elsewhere@example.net", "Ann@example.org"), status_code=550)
    assert await late_bounce(rig.store, path(email_id), report) == "no_record"
    assert await late_bounce(rig.store, path(email_id), report) == "already"
    (event,) = await events(rig)
    assert (event.type, event.data.email_id, event.data.late) == ("bounced", email_id, True)
    assert [(r.email, r.status_code) for r in event.data.recipients] == [("Ann@example.org", 550)]
    assert (event.data.client_id, event.data.sequence) == ("client", 0)
    assert not (await check_invariants(rig.store)).suppressions


async def test_bounces_of_a_queues_return_path_are_an_event_for_each_recipient(rig: Rig) -> None:
    email_id = await without_record(rig)
    await with_webhook(rig)
    of_all = of_queue(email_id, "main", 0, "client")
    for name in ("ann", "bob"):
        report = Bounce(addresses=(f"{name}@example.org",))
        assert await late_bounce(rig.store, of_all, report) == "no_record"
    found = [r.email for event in await events(rig) for r in event.data.recipients]
    assert sorted(found) == ["ann@example.org", "bob@example.org"]


async def test_message_that_names_nobody_of_ours_is_an_event_without_recipients(rig: Rig) -> None:
    email_id = await without_record(rig)
    await with_webhook(rig)
    report = Bounce(addresses=("forwarded@example.net",))
    assert await late_bounce(rig.store, path(email_id), report) == "no_record"
    (event,) = await events(rig)
    assert not event.data.recipients


async def test_complaint_about_a_gone_record_suppresses_for_all_mail(rig: Rig) -> None:
    email_id = await without_record(rig)
    await with_webhook(rig)
    report = Complaint(addresses=("ann@example.org",))
    assert await complaint(rig.store, path(email_id), report) == "no_record"
    assert await complaint(rig.store, path(email_id), report) == "already"
    found = await get_one(rig.store, "client", "ann@example.org")
    assert found is not None and (found.reason, found.email_id) == ("complaint", email_id)
    assert await types(rig) == ["complained"]


async def test_client_that_is_gone_is_unknown(rig: Rig) -> None:
    email_id = await without_record(rig)
    gone = of_recipient(email_id, "ann@example.org", 0, "shop:1")
    assert await late_bounce(rig.store, gone, NO_MAILBOX) == "unknown"
    assert await complaint(rig.store, gone, Complaint()) == "unknown"
