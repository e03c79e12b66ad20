"""What waits for its time: e-mails for later, and tries that were deferred."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from babygun.etcd import KeyValue, Txn, delete, get, present, put
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.keys import JobRef, range_end
from babygun.store.store import Store

# Keys that one page of one client's listing reads at most.
SCAN_KEYS = 1000
# Reads in one transaction. etcd takes 128.
_AT_ONCE = 100
# What is made due in one round, in keys a page.
_PAGE, _PAGES = 500, 20


@dataclass(frozen=True, slots=True)
class Waiting:
    """One queue of one e-mail that waits. ``recipients``: how many of them are not final."""

    ref: JobRef
    due: datetime
    recipients: int


@dataclass(frozen=True, slots=True)
class SchedulePage:
    """``cursor`` leads to the next page, None at the end. A short page may have one too."""

    waiting: list[Waiting]
    cursor: str | None


async def make_all_due(
    store: Store, now: datetime, takes: Callable[[JobRef, datetime], bool]
) -> int:
    """Turns what is due at ``now`` into jobs, up to _PAGES pages of it; returns how many.

    ``takes``: whether the caller takes a job, given the job and the time that it is due.
    """
    start, end = store.keys.waiting, store.keys.due_until(now)
    made = 0
    for _ in range(_PAGES):
        found = await store.client.range(start, end, limit=_PAGE)
        taken = []
        for kv in found.kvs:
            try:
                due, ref = store.keys.parse_not_before(kv.key)
            except ValueError as error:  # somebody wrote this key by hand
                log_unreadable(kv.key, error)
                continue
            if takes(ref, due):
                taken.append(make_due(store, kv.key, kv.value))
        made += sum(await asyncio.gather(*taken))
        if not found.more:
            break
        start = found.kvs[-1].key + b"\0"
    return made


async def make_due(store: Store, key: bytes, value: bytes) -> bool:
    """Turns a not-before key whose time has come into a job.

    False: another worker has done it, or it was cancelled.
    """
    _, ref = store.keys.parse_not_before(key)
    result = await store.batcher.submit(
        Txn([present(key)], [put(store.keys.job(ref), value), delete(key)])
    )
    return result.succeeded


async def list_waiting(
    store: Store, *, client_id: str | None, limit: int, cursor: str | None = None
) -> SchedulePage:
    """What is due soonest after ``cursor``. Raises ValueError if the cursor is not one.

    ``client_id``: the client that it belongs to; None for all.
    """
    prefix = store.keys.waiting
    start, end = prefix, range_end(prefix)
    if cursor is not None:
        start = prefix + cursor.encode() + b"\0"
        store.keys.parse_not_before(start[:-1])
    waiting: list[Waiting] = []
    seen = 0
    last: str | None = None
    while True:
        found = await store.client.range(
            start, end, limit=limit + 1 if client_id is None else _AT_ONCE
        )
        theirs = None if client_id is None else await _owned(store, found.kvs, client_id)
        for kv in found.kvs:
            if len(waiting) == limit or seen == SCAN_KEYS:
                return SchedulePage(waiting, last)
            seen += 1
            last = kv.key[len(prefix) :].decode(errors="replace")
            if (one := _parse(store, kv)) is not None and (
                theirs is None or one.ref.email_id in theirs
            ):
                waiting.append(one)
        if not found.more:
            return SchedulePage(waiting, None)
        start = found.kvs[-1].key + b"\0"


def _parse(store: Store, kv: KeyValue) -> Waiting | None:
    """None for a key that somebody put there by hand."""
    try:
        due, ref = store.keys.parse_not_before(kv.key)
        return Waiting(ref, due, codec.decode_job(kv.value).recipients)
    except ValueError:
        return None


async def _owned(store: Store, kvs: list[KeyValue], client_id: str) -> set[str]:
    """The ids of those e-mails that belong to the client."""
    ids = list({one.ref.email_id for kv in kvs if (one := _parse(store, kv)) is not None})
    if not ids:
        return set()
    records = await store.client.read([get(store.keys.email(email_id)) for email_id in ids])
    return {
        email_id
        for index, email_id in enumerate(ids)
        if (found := records.kvs(index))
        and codec.decode_email(found[0].value).client_id == client_id
    }
