"""Unsubscribes one address: writes the suppression and its event in one transaction."""

from __future__ import annotations

import time
from datetime import datetime

from babygun.email.email_events import EmailEvent, event_of_address
from babygun.email.ids import email_id
from babygun.email.model import client_id_of
from babygun.email.suppression import Suppression
from babygun.errors import Conflict, LeaseNotFound
from babygun.etcd import KeyValue, absent, created_at, get, modified_at, put
from babygun.runtime.identifiers import new_short_id
from babygun.runtime.metrics import SUPPRESSIONS_WRITTEN
from babygun.store import codec
from babygun.store.records import Client
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
    reads = [get(key), get(client_key)]
    now = await store.clock.now()
    suppression = Suppression("unsubscribe", now, until_of(store.settings, "unsubscribe", now))
    event = _event(what, now)
    found = await store.client.read(reads)
    for _ in range(_TRIES):
        old, client = found.kvs(0), found.kvs(1)
        if not client or codec.decode_state(client[0].value, Client).identity != what.client_id:
            return False
        if old and _stands(old[0], now):
            return False
        lease = await lease_of(store, suppression, 1)
        unchanged = modified_at(key, old[0].mod_revision) if old else absent(key)
        try:
            found = await outbox.submit_events(
                store,
                what.client_id,
                lambda: [event],
                [unchanged, created_at(client_key, client[0].create_revision)],
                [put(key, codec.encode_state(suppression), lease)],
                reads,
            )
        except LeaseNotFound:
            store.suppression_leases.forget(lease)
            continue
        if found.succeeded:
            SUPPRESSIONS_WRITTEN["unsubscribe"].inc()
            return True
    raise Conflict("the suppression is changing all the time; try again")


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
