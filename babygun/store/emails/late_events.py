"""What comes back about an e-mail whose record is gone: the event alone, and once.

The return path says which client it was, and by a hash which recipient. A key on a lease, kept as
long as notices, says that the event was written. So the same message twice makes one event.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from babygun.email.bounces import Bounce, Complaint
from babygun.email.email_events import EmailEvent, EventRecipient, event_without_record
from babygun.email.late import reason_of_bounce, reason_of_complaint
from babygun.email.reasons import cut
from babygun.email.return_path import (
    ReturnPath,
    hash_of_client,
    hash_of_queue,
    hash_of_recipient,
)
from babygun.email.suppression import Suppression
from babygun.errors import LeaseNotFound, NotFound, SettingsError
from babygun.etcd import absent, created_at, get, put
from babygun.store import codec
from babygun.store.keys import range_end
from babygun.store.records import Client
from babygun.store.store import Store
from babygun.store.suppressions import suppressions
from babygun.store.webhooks import outbox

Outcome = Literal["already", "no_record", "unknown"]
_REPLY_BYTES = 512


class _Owner(NamedTuple):
    """The client whose e-mail it was. ``identity``: with serial. ``revision``: that made it."""

    identity: str
    key: bytes
    revision: int


async def bounced(store: Store, address: ReturnPath, report: Bounce) -> Outcome:
    """Writes the event ``bounced``. Raises EtcdError."""
    owner = await _owner(store, address.client)
    if owner is None:
        return "unknown"
    named = _named(store, address, report.addresses)
    recipient = EventRecipient(
        named,
        "bounced",
        status_code=report.status_code,
        enhanced_code=report.enhanced_code,
        status_reason=report.reason and cut(report.reason, _REPLY_BYTES),
        reply_class=report.reply_class,
    )
    event = event_without_record(
        "bounced",
        await store.clock.now(),
        address.email_id,
        name=_name(address, named),
        client_id=owner.identity,
        recipient=recipient if named else None,
        reason=reason_of_bounce(report),
    )
    return await _write(store, owner, event)


async def complained(store: Store, address: ReturnPath, report: Complaint) -> Outcome:
    """Suppresses the address for all mail of the client, and writes the event ``complained``.

    Nobody knows any more which list it was. Raises EtcdError.
    """
    owner = await _owner(store, address.client)
    if owner is None:
        return "unknown"
    now = await store.clock.now()
    named = _named(store, address, report.addresses)
    if named:
        until = suppressions.until_of(store.settings, "complaint", now)
        word = Suppression("complaint", now, until, address.email_id)
        there = [created_at(owner.key, owner.revision)]
        try:
            await suppressions.add(store, owner.identity, named, word, compares=there)
        except NotFound:
            return "unknown"
    event = event_without_record(
        "complained",
        now,
        address.email_id,
        name=_name(address, named),
        client_id=owner.identity,
        recipient=EventRecipient(named, "suppressed") if named else None,
        reason=reason_of_complaint(report),
    )
    return await _write(store, owner, event)


async def _owner(store: Store, hashed: str) -> _Owner | None:
    """The client of a return path. There are few clients, and few such messages."""
    prefix = store.keys.clients
    for kv in (await store.client.range(prefix, range_end(prefix))).kvs:
        client = codec.state_of(kv, Client)
        if client and hash_of_client(client.identity) == hashed:
            return _Owner(client.identity, kv.key, kv.create_revision)
    return None


def _named(store: Store, address: ReturnPath, addresses: Sequence[str]) -> str:
    """The recipient among the addresses that a message names; empty: none of them is ours."""
    for each in addresses:
        if hash_of_recipient(address.email_id, each) == address.recipient:
            return each
        try:
            queue = store.routes.queue_for(each)
        except SettingsError:
            continue
        if hash_of_queue(address.email_id, queue) == address.recipient:
            return each
    return ""


def _name(address: ReturnPath, named: str) -> str:
    """Of the recipient, in the event's id. A queue's return path has several."""
    return hash_of_recipient(address.email_id, named) if named else address.recipient


async def _write(store: Store, owner: _Owner, event: EmailEvent) -> Outcome:
    """Writes the event's notices, once."""
    marker = store.keys.late_event(event.data.event_id)
    while True:
        lease = await store.notice_leases.lease(1)
        try:
            result = await outbox.submit_events(
                store,
                owner.identity,
                lambda: [event],
                [absent(marker), created_at(owner.key, owner.revision)],
                [put(marker, b"", lease)],
                [get(marker)],
            )
        except LeaseNotFound:  # revoked to make room; the next one is new
            store.notice_leases.forget(lease)
            continue
        if result.succeeded:
            return "no_record"
        return "already" if result.kvs(0) else "unknown"
