"""The outbox: the notices of each transition, by a process that knows the webhooks or not."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from aetcd import rpc
from msgspec.structs import replace

from babygun.email.email_events import EmailEvent, EventData, EventRecipient, events_of
from babygun.email.model import Recipient
from babygun.email.tries import QueueResult, RecipientResult
from babygun.errors import EtcdUnavailable, OutcomeUnknown
from babygun.etcd import Op, Txn
from babygun.intake.ids import new_email_id
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store import Store, codec
from babygun.store.emails.acceptance import accept, write
from babygun.store.emails.batches import accept_batch
from babygun.store.emails.finish import PendingResult, finish
from babygun.store.emails.new_email import NewEmail, looked_up, prepare
from babygun.store.emails.on_request import cancel, expire, retry
from babygun.store.keys import JobRef, range_end
from babygun.store.records import BatchRecord
from babygun.store.webhooks import change, outbox
from babygun.store.webhooks.records import MOST_WEBHOOKS, Webhook
from tests.email.steps import submitted
from tests.store.emails.steps import HARD, HELD, OK, SOFT, claimed, pending
from tests.store.webhooks.steps import disabled, new_webhook, ready, types
from tests.support.invariants import check_invariants
from tests.support.rig import Rig, rig_for

GONE = RecipientResult("retry", "expired", reason="too late")


async def test_email_of_a_client_without_a_webhook_has_no_notices(rig: Rig) -> None:
    await new_webhook(rig.store, "other")
    email_id = await rig.send("ann@example.org")
    await finish(rig.store, [pending(await claimed(rig, email_id), OK)])
    seen = await check_invariants(rig.store)
    assert not seen.outbox.notices


async def test_each_transition_writes_its_notices(rig: Rig) -> None:
    webhook = await new_webhook(rig.store)
    email_id = await rig.send("ann@example.org")
    await finish(rig.store, [pending(await claimed(rig, email_id), HELD)])
    await finish(rig.store, [pending(await claimed(rig, email_id), HARD)])
    await retry(rig.store, email_id, request_id="r1")
    await expire(rig.store, JobRef(email_id, "main"), GONE, worker_id="w1")
    await retry(rig.store, email_id)
    await cancel(rig.store, email_id)
    events = await ready(rig.store, webhook)
    assert [event.type for event in events] == [
        *("accepted", "deferred", "bounced", "retried", "expired", "retried", "cancelled")
    ]
    assert [event.data.sequence for event in events] == list(range(7))
    assert {event.data.email_id for event in events} == {email_id}
    assert events[3].data.request_id == "r1"
    await check_invariants(rig.store)


async def test_try_with_mixed_results_writes_one_notice_of_each_type(rig: Rig) -> None:
    webhook = await new_webhook(rig.store)
    email_id = await rig.send("a@example.org", "b@example.org", "c@example.org")
    claim = await claimed(rig, email_id)
    results = dict(
        zip(("a@example.org", "b@example.org", "c@example.org"), (OK, SOFT, HARD), strict=True)
    )
    result = QueueResult("main", "w1", claim.claimed_at, results)
    await finish(rig.store, [PendingResult(claim, result)])
    events = (await ready(rig.store, webhook))[1:]
    assert {event.type: [r.email for r in event.data.recipients] for event in events} == {
        "bounced": ["c@example.org"],
        "deferred": ["b@example.org"],
        "delivered": ["a@example.org"],
    }
    await check_invariants(rig.store)


async def test_webhooks_get_the_types_and_tags_that_they_ask_for(rig: Rig) -> None:
    every = await new_webhook(rig.store)
    bounces = await new_webhook(rig.store, events=("bounced", "expired"))
    orders = await new_webhook(rig.store, tags=("order", "invoice"))
    for tags in ((), ("news",), ("order", "news")):
        email, content = rig.email("ann@example.org")
        new = prepare(rig.store, replace(email, tags=tags), content)
        await accept(rig.store, "client", new)
        await finish(rig.store, [pending(await claimed(rig, email.id), HARD)])
    assert len(await ready(rig.store, every)) == 6
    assert await types(rig.store, bounces) == ["bounced"] * 3
    assert [e.data.tags for e in await ready(rig.store, orders)] == [("order", "news")] * 2
    await check_invariants(rig.store)


async def test_webhook_that_is_off_gets_no_new_notices(rig: Rig) -> None:
    webhook = await new_webhook(rig.store)
    await rig.send("ann@example.org")
    assert await disabled(rig.store, webhook, "It answers nothing.")
    await rig.send("ann@example.org")
    assert len(await ready(rig.store, webhook)) == 1
    await change.change_webhook(
        rig.store, "client", webhook.id, lambda w: replace(w, enabled=True, disabled=None)
    )
    await rig.send("ann@example.org")
    assert len(await ready(rig.store, webhook)) == 2


async def test_process_that_has_not_heard_of_a_change_writes_what_is_right_all_the_same(
    rig: Rig,
) -> None:
    """It follows nothing here, so it learns by etcd's refusal alone."""
    async with rig_for(rig.settings) as far:
        first = await rig.send("ann@example.org")
        claim = await claimed(rig, first)
        webhook = await new_webhook(far.store)
        assert rig.store.webhooks.of("client").revision == 0
        assert (await finish(rig.store, [pending(claim, SOFT)])).written
        second = await rig.send("ann@example.org")
        events = await ready(rig.store, webhook)
        assert {(e.data.email_id, e.type) for e in events} == {
            (first, "deferred"),
            (second, "accepted"),
        }
        assert await change.delete_webhook(far.store, "client", webhook.id)
        assert rig.store.webhooks.of("client").revision
        await cancel(rig.store, second)
        assert not (await check_invariants(rig.store)).outbox.notices


async def test_known_webhook_costs_no_further_request(rig: Rig) -> None:
    await new_webhook(rig.store)
    await rig.send("ann@example.org")
    before = rig.store.batcher.txns
    await rig.send("ann@example.org")
    assert rig.store.batcher.txns - before == 1


async def test_refusal_whose_reason_can_not_be_read_is_an_unknown_outcome(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(key: bytes) -> None:
        raise EtcdUnavailable("away")

    async with rig_for(rig.settings) as far:
        await new_webhook(far.store)
    email, content = rig.email("ann@example.org")
    transition = prepare(rig.store, email, content).transition
    monkeypatch.setattr(rig.store.client, "get", away)
    with pytest.raises(OutcomeUnknown, match="away"):
        await outbox.submit(rig.store, [transition], [], [])


# etcd's limits


def _random_text(length: int) -> str:
    """Text that can't be compressed much."""
    return "".join(random.Random(length).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=length))


async def _most_webhooks(store: Store) -> list[Webhook]:
    return [await new_webhook(store) for _ in range(MOST_WEBHOOKS)]


async def _accept(rig: Rig, recipients: tuple[Recipient, ...], **fields: Any) -> str:
    email, content = rig.email("ann@example.org")
    queues = {r.queue: email.queues["main"] for r in recipients}
    email = replace(email, recipients=recipients, queues=queues, **fields)
    return (await accept(rig.store, "client", prepare(rig.store, email, content))).email_id


async def test_most_webhooks_and_recipients_get_all_of_a_try(rig: Rig) -> None:
    webhooks = await _most_webhooks(rig.store)
    addresses = [f"r{n}@example.org" for n in range(1000)]
    recipients = tuple(Recipient(address, "to", "main") for address in addresses)
    email_id = await _accept(rig, recipients)
    claim = await claimed(rig, email_id)
    outcomes = (OK, SOFT, HARD)
    results = {
        address: replace(outcomes[n % 3], reason=_random_text(200 + n))
        for n, address in enumerate(addresses)
    }
    result = QueueResult("main", "w1", claim.claimed_at, results)
    assert (await finish(rig.store, [PendingResult(claim, result)])).written
    for webhook in webhooks:
        events = await ready(rig.store, webhook)
        assert [e.type for e in events] == ["accepted", "bounced", "deferred", "delivered"]
        for event in events:
            data = event.data
            whole = 1000 if event.type == "accepted" else 1000 // 3
            assert len(data.recipients) + data.recipients_omitted in (whole, whole + 1)
            assert data.recipients
    await check_invariants(rig.store)


async def test_thousand_bounces_that_suppress_their_addresses_have_their_notices(rig: Rig) -> None:
    webhooks = await _most_webhooks(rig.store)
    addresses = [f"r{n}@example.org" for n in range(1000)]
    email_id = await _accept(rig, tuple(Recipient(a, "to", "main") for a in addresses))
    claim = await claimed(rig, email_id)
    results = {
        address: replace(HARD, reason=_random_text(120 + n % 300), suppress=True)
        for n, address in enumerate(addresses)
    }
    result = QueueResult("main", "w1", claim.claimed_at, results)
    assert (await finish(rig.store, [PendingResult(claim, result)])).written
    for webhook in webhooks:
        _, bounced = await ready(rig.store, webhook)
        data = bounced.data
        assert data.recipients and len(data.recipients) + data.recipients_omitted == 1000
    prefix = rig.store.keys.suppressions
    found = await rig.store.client.range(prefix, range_end(prefix), keys_only=True)
    assert len(found.kvs) == 1000


async def test_widest_email_with_most_webhooks_is_accepted_cancelled_and_retried(rig: Rig) -> None:
    webhooks = await _most_webhooks(rig.store)
    email_id = await rig.send_wide(1000, body="x" * 700_000)
    await cancel(rig.store, email_id)
    await retry(rig.store, email_id)
    for webhook in webhooks[:1]:
        events = await ready(rig.store, webhook)
        counts: dict[str, int] = {}
        for event in events:
            of_event = len(event.data.recipients) + event.data.recipients_omitted
            counts[event.type] = counts.get(event.type, 0) + of_event
        assert counts == {"accepted": 1000, "cancelled": 1000, "retried": 1000}
    await check_invariants(rig.store)


def _batch(rig: Rig, ids: list[str], **fields: Any) -> list[NewEmail | None]:
    emails: list[NewEmail | None] = []
    for email_id in ids:
        email, content = rig.email("ann@example.org", subject=fields.get("subject", "hello"))
        emails.append(prepare(rig.store, replace(email, id=email_id, **fields), content))
    return emails


@pytest.mark.parametrize("known", [True, False])
async def test_batch_of_1000_with_most_webhooks_has_all_its_notices(rig: Rig, known: bool) -> None:
    """``known``: whether the batch is divided by a process that knows of the webhooks."""
    async with rig_for(rig.settings) as far:
        webhooks = await _most_webhooks(far.store)
    if known:
        await rig.send("ann@example.org")
    emails = _batch(rig, [new_email_id() for _ in range(1000)])
    outcome = await accept_batch(
        rig.store,
        "client",
        BatchRecord(1000, 0, b"", ()),
        emails,
        idempotency_key=None,
        fingerprint="",
        prepare_again=None,  # type: ignore[arg-type]
    )
    assert all(outcome.ids) and not outcome.errors
    for webhook in webhooks:
        prefix = rig.store.keys.webhook_notices(webhook.id)
        found = await rig.store.client.range(prefix, range_end(prefix), keys_only=True)
        assert len(found.kvs) == 1000 + known
    await check_invariants(rig.store)


async def test_largest_part_of_a_batch_is_stored_though_its_events_do_not_fit(rig: Rig) -> None:
    """As when webhooks were made after the batch was divided: an event is never left out."""
    webhooks = await _most_webhooks(rig.store)
    metadata = {"text": _random_text(4000)}
    emails = _batch(rig, [new_email_id() for _ in range(100)], metadata=metadata, subject="s" * 900)
    part = await looked_up(rig.store, [new for new in emails if new])
    assert await write(rig.store, part) is None
    for webhook in webhooks:
        events = await ready(rig.store, webhook)
        assert len(events) == 100
        assert all(e.data.recipients_omitted == 1 and not e.data.metadata for e in events)
    await check_invariants(rig.store)


# Without etcd


def _event(recipients: int, metadata: dict[str, str] | None = None) -> EmailEvent:
    return EmailEvent(
        "bounced",
        utc_now(),
        EventData(
            event_id="id-0001-bounced",
            sequence=1,
            email_id="id",
            subject="hello",
            tags=(),
            metadata=metadata or {},
            recipients=tuple(
                EventRecipient(f"{_random_text(40 + n)}@example.org", "bounced")
                for n in range(recipients)
            ),
        ),
    )


def _webhooks(count: int) -> list[Webhook]:
    now = utc_now()
    return [
        Webhook(id=f"wh_{n:024x}", url="https://a", created_at=now, updated_at=now)
        for n in range(count)
    ]


@pytest.mark.parametrize("most_bytes", [2_000, 20_000, 200_000])
def test_notices_keep_to_the_bytes_and_say_what_they_leave_out(most_bytes: int) -> None:
    store, event = Store(Settings()), _event(500)
    ops = outbox.notices_of(store, _webhooks(3), [event], most_bytes)
    assert len(ops) == 3 and sum(len(op.encoded) for op in ops) <= most_bytes
    data = _decoded(ops[0]).data
    assert len(data.recipients) + data.recipients_omitted == 500


def test_notices_that_fit_are_whole() -> None:
    ops = outbox.notices_of(Store(Settings()), _webhooks(3), [_event(500)], 1_000_000)
    assert len(_decoded(ops[0]).data.recipients) == 500


def test_short_event_beside_a_long_one_keeps_its_recipients() -> None:
    events = (*events_of(submitted(a=1)), _event(500))
    short, long = map(_decoded, outbox.notices_of(Store(Settings()), _webhooks(1), events, 8_000))
    assert len(short.data.recipients) == 1
    assert 0 < len(long.data.recipients) < 500


def test_event_that_fits_nowhere_keeps_its_names_alone() -> None:
    event = _event(1, {"text": _random_text(4000)})
    (op,) = outbox.notices_of(Store(Settings()), _webhooks(1), [event], 1_000)
    data = _decoded(op).data
    assert (data.email_id, data.metadata, data.subject) == ("id", {}, "")
    assert data.recipients_omitted == 1


def _decoded(op: Op) -> EmailEvent:
    (message,) = rpc.TxnRequest.FromString(Txn([], [op]).encoded).success
    notice = codec.decode_notice(message.request_put.value)
    return msgspec.json.decode(notice.event, type=EmailEvent)
