"""A test event: it shows that a webhook's endpoint gets events, and can verify them."""

from __future__ import annotations

import time
from datetime import datetime

import msgspec

from babygun.email.email_events import EmailEvent, EventData, event_id
from babygun.email.ids import email_id
from babygun.email.model import as_json, client_id_of
from babygun.errors import NotFound
from babygun.etcd import Txn, absent, get, get_range, present, put
from babygun.runtime.clock import utc_now
from babygun.runtime.identifiers import new_short_id
from babygun.store import codec
from babygun.store.keys import NoticeRef, range_end
from babygun.store.settled import Write, settled
from babygun.store.store import Store
from babygun.store.webhooks.records import Notice

MESSAGE = "This is a test. Your endpoint gets what happens to e-mails in the same way."


async def write_test_event(store: Store, client_id: str, webhook_id: str) -> str:
    """Writes the notice of a test event, which goes the way of all others; returns the event's id.

    Raises NotFound if there is no such webhook, EtcdError.
    """
    keys = store.keys
    name = event_id(email_id(time.time_ns(), new_short_id()), 0, "test")
    now = utc_now()
    notice = Notice(msgspec.Raw(as_json(sample_event(client_id, name, now))), now)
    ref = NoticeRef(webhook_id, name)
    txn = Txn(
        [
            present(keys.webhook_secret(webhook_id)),
            absent(keys.notice(ref)),
            absent(keys.sent_notice(ref)),
        ],
        [put(keys.notice(ref), codec.encode_notice(notice))],
    )

    async def decide(doubt: bool) -> str | Write[str]:
        return name if doubt and await _is_there(store, ref) else Write(name, send)

    async def send() -> bool:
        if (await store.client.txn(txn)).succeeded or await _is_there(store, ref):
            return True
        raise NotFound(f"there is no webhook {webhook_id}")

    return await settled(decide)


async def _is_there(store: Store, ref: NoticeRef) -> bool:
    """Whether a notice waits, is due later, or is sent."""
    keys = store.keys
    due = keys.webhook_due_notices(ref.webhook_id)
    found = await store.client.read(
        [
            get(keys.notice(ref)),
            get(keys.sent_notice(ref)),
            get_range(due, range_end(due), keys_only=True),
        ]
    )
    return any(keys.last_part(kv.key) == ref.event_id for n in range(3) for kv in found.kvs(n))


def sample_event(client_id: str, name: str, now: datetime) -> EmailEvent:
    """``client_id``: with serial. ``name``: the event's id."""
    return EmailEvent(
        "test",
        now,
        EventData(
            event_id=name,
            sequence=0,
            client_id=client_id_of(client_id),
            tags=(),
            metadata={},
            recipients=(),
            message=MESSAGE,
        ),
    )
