"""A test event: it shows that a webhook's endpoint gets events, and can verify them."""

from __future__ import annotations

import time
from datetime import datetime

import msgspec

from babygun.email.email_events import EmailEvent, EventData, event_id
from babygun.email.ids import email_id
from babygun.email.model import as_json, client_id_of
from babygun.errors import NotFound
from babygun.etcd import Txn, present, put
from babygun.runtime.clock import utc_now
from babygun.runtime.identifiers import new_short_id
from babygun.store import codec
from babygun.store.keys import NoticeRef
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
    txn = Txn(
        [present(keys.webhook_secret(webhook_id))],
        [put(keys.notice(NoticeRef(webhook_id, name)), codec.encode_notice(notice))],
    )
    if not (await store.client.txn(txn)).succeeded:
        raise NotFound(f"there is no webhook {webhook_id}")
    return name


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
