"""Erases a recipient in the notices of webhooks.

A worker that owns a webhook has some of its notices in memory, and would write them back as they
were. So the webhook is taken away from it, in the same transaction: its writes are refused from
then on, and it reads the notices again. What it has under way may go out once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from babygun.email.addresses import comparable
from babygun.email.email_events import EmailEvent
from babygun.email.erasure import without_address
from babygun.errors import LeaseNotFound
from babygun.etcd import Txn, delete, modified_at, put
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.erasure.search import Hit
from babygun.store.keys import Keys
from babygun.store.store import Store
from babygun.store.webhooks.records import Notice

_decode_event = msgspec.json.Decoder(EmailEvent).decode


def recipients_in(notice: Notice, mailbox: str) -> list[str]:
    """How a notice's event writes the addresses of a mailbox. Raises ValueError."""
    recipients = _decode_event(notice.event).data.recipients
    return [r.email for r in recipients if comparable(r.email) == mailbox]


def erased(notice: Notice, mailbox: str) -> Notice:
    """The notice with the mark in place of the address. Raises ValueError."""
    spellings = [mailbox, *recipients_in(notice, mailbox)]
    event = msgspec.json.decode(notice.event)
    marked = without_address(event, spellings)
    if event["data"].get("sender"):
        marked["data"]["sender"] = event["data"]["sender"]
    return replace(
        notice,
        event=msgspec.Raw(msgspec.json.encode(marked)),
        last=without_address(notice.last, spellings),
    )


def found_in(hits: Sequence[Hit], mailbox: str) -> list[tuple[Hit, Notice]]:
    """Those of these notices that name a mailbox, each with how it is without the address."""
    found = []
    for hit in hits:
        try:
            notice = codec.decode_notice(hit.kv.value)
            if (after := erased(notice, mailbox)) != notice:
                found.append((hit, after))
        except ValueError as error:  # somebody wrote this key by hand
            log_unreadable(hit.kv.key, error)
    return found


async def write(store: Store, found: Sequence[tuple[Hit, Notice]]) -> int:
    """Writes notices without the address. Returns how many are written. Raises EtcdError.

    One that changes meanwhile is left: a later search finds it.
    """
    txns = []
    for hit, notice in found:
        ops = [put(hit.kv.key, codec.encode_notice(notice), hit.kv.lease)]
        if hit.phase != "notices-sent" or notice.was_given_up:
            ops.append(delete(store.keys.notice_owner(webhook_of(store.keys, hit))))
        txns.append(Txn([modified_at(hit.kv.key, hit.kv.mod_revision)], ops))
    return sum(await asyncio.gather(*(_written(store, txn) for txn in txns)))


async def _written(store: Store, txn: Txn) -> bool:
    try:
        return (await store.client.txn(txn)).succeeded
    except LeaseNotFound:  # it goes with its lease
        return False


def webhook_of(keys: Keys, hit: Hit) -> str:
    """Whose notice it is. Raises ValueError."""
    match hit.phase:
        case "notices":
            return keys.parse_notice(hit.kv.key).webhook_id
        case "notices-due":
            return keys.parse_due_notice(hit.kv.key)[1].webhook_id
        case _:
            return keys.parse_sent_notice(hit.kv.key).webhook_id
