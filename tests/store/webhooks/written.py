"""Notices as the owner of their webhook writes them."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import msgspec

from babygun.email.email_events import event_id
from babygun.email.ids import email_id
from babygun.store import Store, codec
from babygun.store.keys import NoticeRef
from babygun.store.webhooks.records import Notice, NoticeResult, NoticeState

WEBHOOK = "wh_0123456789abcdef01234567"
NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)


def event_of(ms: int, type: str = "delivered", sequence: int = 1) -> str:
    """The id of an event of an e-mail that was accepted at this millisecond."""
    return event_id(email_id(ms * 1_000_000, f"{random.getrandbits(64):016x}"), sequence, type)


async def put(
    store: Store,
    event: str,
    state: NoticeState = "waiting",
    *,
    due: datetime | None = None,
    since: datetime = NOW,
    webhook_id: str = WEBHOOK,
) -> None:
    """Writes a notice as its owner would."""
    ref = NoticeRef(webhook_id, event)
    final = state != "waiting"
    last = NoticeResult(NOW, 500, "oops") if final or due else None
    notice = Notice(
        msgspec.Raw(b'{"type":"delivered","data":{"email_id":"x"}}'),
        since,
        int(last is not None),
        last,
        state,
    )
    key = (
        store.keys.sent_notice(ref)
        if final
        else store.keys.due_notice(ref, due)
        if due
        else store.keys.notice(ref)
    )
    await store.client.put(key, codec.encode_notice(notice))
