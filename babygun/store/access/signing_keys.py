"""The keys that sign tokens: made in turn, kept as long as a token of theirs may be valid.

A new key signs after SPREAD, when all API processes know it. The one before verifies its tokens
until the last of them has ended; then it is deleted. Both are in the audit.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise

from msgspec.structs import replace

from babygun.etcd import KeyValue, Op, Txn, all_created_before, delete, modified_at, present, put
from babygun.runtime.clock import utc_now
from babygun.runtime.identifiers import new_token
from babygun.store import codec
from babygun.store.audit.entries import done_by_process
from babygun.store.keys import range_end
from babygun.store.records import SigningKey
from babygun.store.store import Store

SPREAD = timedelta(minutes=1)
CLOCKS_DIFFER = timedelta(hours=1)  # at most


def by_age(keys: Iterable[SigningKey]) -> list[SigningKey]:
    """The oldest first."""
    return sorted(keys, key=lambda key: (key.created_at, key.kid))


def signing_key(keys: Iterable[SigningKey], now: datetime) -> SigningKey | None:
    """The key that signs tokens now: the newest that all processes know. None: there is none."""
    oldest_first = by_age(keys)
    spread = [key for key in oldest_first if key.created_at <= now - SPREAD]
    return spread[-1] if spread else next(iter(oldest_first), None)


def due(keys: Iterable[SigningKey], period: float, now: datetime) -> bool:
    """Whether a new key is to be made. ``period``: seconds that one signs; 0: for ever."""
    oldest_first = by_age(keys)
    if not oldest_first:
        return True
    return period > 0 and now >= oldest_first[-1].created_at + timedelta(seconds=period)


def ended(keys: Iterable[SigningKey], token_ttl: float, now: datetime) -> list[SigningKey]:
    """The keys of which no token is valid any more. ``token_ttl``: the setting, in seconds."""
    oldest_first = by_age(keys)
    return [
        key
        for key, next_one in pairwise(oldest_first)
        if now
        >= next_one.created_at
        + SPREAD
        + timedelta(seconds=max(key.token_ttl, token_ttl))
        + CLOCKS_DIFFER
    ]


async def make_signing_key(store: Store, by: str) -> bool:
    """Makes a key if one is due. Any number of API processes may do this at the same time.

    ``by``: the id of this process. Returns whether this process has made one. Raises EtcdError.
    """
    settings, prefix = store.settings, store.keys.signing_keys
    found = await store.client.range(prefix, range_end(prefix))
    known, now = _decoded(found.kvs), utc_now()
    if not due(known, settings.signing_key_period, now):
        return False
    key = SigningKey(new_token(4), os.urandom(32), now, settings.token_ttl)
    write = put(store.keys.signing_key(key.kid), codec.encode_state(key))
    noted = _noted(store, "makeSigningKey", key, by)
    alone = all_created_before(prefix, range_end(prefix), found.revision + 1)
    return (await store.client.txn(Txn([alone], [write, noted]))).succeeded


async def note_token_ttl(store: Store, key: SigningKey) -> None:
    """Writes into a key how long the tokens are valid that it signs from now on, if that is longer.

    Raises EtcdError.
    """
    longer = store.settings.token_ttl
    found = await store.client.get(store.keys.signing_key(key.kid))
    if found is None or longer <= (there := codec.decode_state(found.value, SigningKey)).token_ttl:
        return
    write = put(found.key, codec.encode_state(replace(there, token_ttl=longer)))
    await store.client.txn(Txn([modified_at(found.key, found.mod_revision)], [write]))


def _decoded(kvs: Iterable[KeyValue]) -> list[SigningKey]:
    return [key for kv in kvs if (key := codec.state_of(kv, SigningKey))]


async def delete_signing_key(store: Store, key: SigningKey, by: str) -> bool:
    """Deletes a key that has ended. Returns whether this process did it. Raises EtcdError.

    ``by``: as in :func:`make_signing_key`.
    """
    there = store.keys.signing_key(key.kid)
    ops = [delete(there), _noted(store, "deleteSigningKey", key, by)]
    return (await store.client.txn(Txn([present(there)], ops))).succeeded


def _noted(store: Store, action: str, key: SigningKey, by: str) -> Op:
    """Writes the audit entry of a change, with the change."""
    entry = done_by_process(action, by, target=key.kid)
    return put(store.keys.audit_entry(entry.id), codec.encode_state(entry))
