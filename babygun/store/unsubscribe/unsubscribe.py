"""Unsubscribes one address: writes the suppression and its event in one transaction."""

from __future__ import annotations

import time
from datetime import datetime

from babygun.email.email_events import EmailEvent, event_of_address
from babygun.email.ids import email_id
from babygun.email.model import client_id_of
from babygun.email.suppression import Suppression
from babygun.errors import LeaseNotFound
from babygun.etcd import Compare, KeyValue, created_at, get, put, unchanged
from babygun.runtime.identifiers import new_short_id
from babygun.runtime.metrics import SUPPRESSIONS_WRITTEN
from babygun.store import codec
from babygun.store.records import Client
from babygun.store.settled import Write, settled
from babygun.store.store import Store
from babygun.store.suppressions.suppressions import lease_of, until_of
from babygun.store.unsubscribe.tokens import Subscription
from babygun.store.webhooks import outbox

_TRIES = 8  # of a change that others' changes of the same keys meet
# They were written because the address's owner wants no more mail.
_ITS_OWNERS_WISH = ("unsubscribe", "complaint")


async def unsubscribe(store: Store, what: Subscription) -> bool:
    """Suppresses the address on the list. False: it was so already, or there is no such client.

    It can be repeated: a second call writes nothing and makes no event. Raises EtcdError, and
    Conflict if others change it all the time.
    """
    keys = store.keys
    key = keys.suppression(what.client_id, what.list, what.address)
    client_key = keys.client(client_id_of(what.client_id))
    now = await store.clock.now()
    suppression = Suppression("unsubscribe", now, until_of(store.settings, "unsubscribe", now))
    event = _event(what, now)

    async def decide(doubt: bool) -> bool | Write[bool]:
        found = await store.client.read([get(key), get(client_key)])
        old, client = found.kvs(0), found.kvs(1)
        if doubt and old and codec.decode_suppression(old[0].value) == suppression:
            return True
        if not client or codec.decode_state(client[0].value, Client).identity != what.client_id:
            return False
        if old and _stands(old[0], now):
            return False
        same = unchanged(key, old[0] if old else None)
        there = created_at(client_key, client[0].create_revision)
        return Write(True, lambda: send([same, there]))

    async def send(compares: list[Compare]) -> bool:
        lease = await lease_of(store, suppression, 1)
        ops = [put(key, codec.encode_state(suppression), lease)]
        try:
            result = await outbox.submit_events(
                store, what.client_id, lambda: [event], compares, ops
            )
        except LeaseNotFound:
            store.suppression_leases.forget(lease)
            return False
        return result.succeeded

    unsubscribed = await settled(decide, tries=_TRIES)
    if unsubscribed:
        SUPPRESSIONS_WRITTEN["unsubscribe"].inc()
    return unsubscribed


def _stands(old: KeyValue, now: datetime) -> bool:
    """Whether what is there says already that its owner wants no more mail."""
    suppression = codec.decode_suppression(old.value)
    return suppression.reason in _ITS_OWNERS_WISH and suppression.counts(now)


def _event(what: Subscription, at: datetime) -> EmailEvent:
    return event_of_address(
        "unsubscribed",
        at,
        email_id(time.time_ns(), new_short_id()),
        client_id=what.client_id,
        address=what.address,
        list_name=what.list,
    )
