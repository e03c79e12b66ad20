"""Sends events again that were sent, or have failed, and are kept.

notices-sent/ ─replay─▶ notices/, with all tries again. The worker that owns the webhook follows
notices/, so it hears of them as of new ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence, Set
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from babygun.email.ids import is_email_id
from babygun.etcd import KeyValue, Txn, delete, modified_at, present, put
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.keys import NoticeRef, range_end
from babygun.store.store import Store
from babygun.store.webhooks.listing import MOST_DUE
from babygun.store.webhooks.records import Notice

# Notices that one call looks through, and that are read and written at a time.
_SCAN, _AT_ONCE = 2000, 100
_TRIES = 3  # with notices that others change meanwhile
_ID = 36  # characters of an e-mail's id


async def replay_ids(store: Store, webhook_id: str, event_ids: Sequence[str]) -> list[str]:
    """Makes notices ready again; returns the ids of those that are ready then.

    Also those that wait for their next try. Raises EtcdError.
    """
    ready: set[str] = set()
    wanted = set(event_ids)
    for _ in range(_TRIES):
        sent = await _make_sent_ready(store, webhook_id, wanted)
        due = await _make_due_ready(store, webhook_id, wanted - sent.seen)
        ready |= sent.ready | due.ready
        wanted = (sent.seen | due.seen) - ready  # they have moved meanwhile
        if not wanted:
            break
    return [each for each in event_ids if each in ready]


class _Looked(NamedTuple):
    """Of the events looked for: those that are kept, and those that are ready now."""

    seen: set[str]
    ready: set[str]


async def _make_sent_ready(store: Store, webhook_id: str, event_ids: Set[str]) -> _Looked:
    """Those that are ready already are among them."""
    keys, looked, wanted = store.keys, _Looked(set(), set()), sorted(event_ids)
    for start in range(0, len(wanted), _AT_ONCE):
        some = [NoticeRef(webhook_id, each) for each in wanted[start : start + _AT_ONCE]]
        kept = await store.client.get_many(
            [key for ref in some for key in (keys.sent_notice(ref), keys.notice(ref))]
        )
        sent = [kept[key] for ref in some if (key := keys.sent_notice(ref)) in kept]
        made = await _make_ready(store, webhook_id, sent)
        looked.seen.update(map(keys.last_part, kept))
        looked.ready.update(map(keys.last_part, made))
        looked.ready.update(ref.event_id for ref in some if keys.notice(ref) in kept)
    return looked


async def _make_due_ready(store: Store, webhook_id: str, event_ids: Set[str]) -> _Looked:
    """Those that wait for their next try are ready at once."""
    if not event_ids:
        return _Looked(set(), set())
    prefix, last_part = store.keys.webhook_due_notices(webhook_id), store.keys.last_part
    keys = await store.client.range(prefix, range_end(prefix), limit=MOST_DUE, keys_only=True)
    wanted = [kv.key for kv in keys.kvs if last_part(kv.key) in event_ids]
    found = (await store.client.get_many(wanted)).values()
    made = await _make_ready(store, webhook_id, list(found))
    return _Looked(set(map(last_part, wanted)), set(map(last_part, made)))


async def replay_between(
    store: Store, webhook_id: str, since: datetime, until: datetime, cursor: str | None
) -> tuple[int, str | None]:
    """Makes those ready again that happened in [since, until); returns how many.

    One call takes a bounded number. Then it returns a cursor, too, from which to go on. Raises
    ValueError on a cursor of another form, EtcdError.
    """
    if cursor is not None and not is_email_id(cursor[:_ID]):
        raise ValueError("no cursor of an earlier call")
    prefix = store.keys.webhook_sent_notices(webhook_id)
    start = prefix if cursor is None else prefix + cursor.encode() + b"\0"
    count = 0
    for _ in range(0, _SCAN, _AT_ONCE):
        found = await store.client.range(start, range_end(prefix), limit=_AT_ONCE)
        fitting = [kv for kv in found.kvs if (one := _decoded(kv)) and since <= one.since < until]
        count += len(await _make_ready(store, webhook_id, fitting))
        if not found.more:
            return count, None
        start = found.kvs[-1].key + b"\0"
    return count, store.keys.last_part(start[:-1])


async def _make_ready(store: Store, webhook_id: str, kvs: Sequence[KeyValue]) -> set[bytes]:
    """Returns the keys of those that it made ready. One that has changed is read again.

    Each is a transaction of its own, so that one that has changed holds up no other.
    """
    made: set[bytes] = set()
    for _ in range(_TRIES):
        done = await asyncio.gather(*(_made_ready(store, webhook_id, kv) for kv in kvs))
        made.update(kv.key for kv, ready in zip(kvs, done, strict=True) if ready)
        left = [kv.key for kv in kvs if kv.key not in made]
        if not left:
            break
        kvs = list((await store.client.get_many(left)).values())
    return made


async def _made_ready(store: Store, webhook_id: str, kv: KeyValue) -> bool:
    """False: it has changed meanwhile, or the webhook is gone."""
    if (notice := _decoded(kv)) is None:
        return False
    ref = NoticeRef(webhook_id, store.keys.last_part(kv.key))
    again = replace(notice, tries=0, state="waiting")
    txn = Txn(
        [modified_at(kv.key, kv.mod_revision), present(store.keys.webhook_secret(webhook_id))],
        [put(store.keys.notice(ref), codec.encode_notice(again)), delete(kv.key)],
    )
    return (await store.batcher.submit(txn)).succeeded


def _decoded(kv: KeyValue) -> Notice | None:
    """None: somebody wrote the value by hand."""
    try:
        return codec.decode_notice(kv.value)
    except ValueError as error:
        log_unreadable(kv.key, error)
        return None
