"""What waits for its time: e-mails for later, and tries that were deferred."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from babygun.email import wide
from babygun.email.model import Email, Job
from babygun.etcd import KeyValue, Txn, delete, present, put
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.emails import parts
from babygun.store.keys import JobRef, range_end
from babygun.store.store import Store

# Keys that one page of the listing reads at most, with the record of each.
SCAN_KEYS = 1000
# Keys that are read at once.
_AT_ONCE = 100
# What is made due in one round, in keys a page.
_PAGE, _PAGES = 500, 20


@dataclass(frozen=True, slots=True)
class Waiting:
    """One queue of one e-mail that waits. ``recipients``: how many of them are not final.

    ``email``: its record. Of a wide e-mail, the queue's part is at hand.
    """

    ref: JobRef
    due: datetime
    recipients: int
    email: Email


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
        chunk = _AT_ONCE if client_id is not None else min(limit + 1, _AT_ONCE)
        found = await store.client.range(start, end, limit=chunk)
        jobs = await _with_emails(store, found.kvs)
        for kv in found.kvs:
            if len(waiting) == limit or seen == SCAN_KEYS:
                return SchedulePage(waiting, last)
            seen += 1
            last = kv.key[len(prefix) :].decode(errors="replace")
            one = jobs.get(kv.key)
            if one is not None and client_id in (None, one.email.client_id):
                waiting.append(one)
        if not found.more:
            return SchedulePage(waiting, None)
        start = found.kvs[-1].key + b"\0"


async def _with_emails(store: Store, kvs: Sequence[KeyValue]) -> dict[bytes, Waiting]:
    """The jobs of these keys. Keys that somebody wrote by hand, or without an e-mail, have none."""
    jobs: dict[bytes, tuple[JobRef, datetime, Job]] = {}
    for kv in kvs:
        with suppress(ValueError):
            due, ref = store.keys.parse_not_before(kv.key)
            jobs[kv.key] = ref, due, codec.decode_job(kv.value)
    keys = {ref.email_id: store.keys.email(ref.email_id) for ref, _, _ in jobs.values()}
    wanted = [*keys.values(), *(store.keys.part(ref) for ref, _, job in jobs.values() if job.wide)]
    found = await store.client.get_many(wanted)
    waiting: dict[bytes, Waiting] = {}
    for key, (ref, due, job) in jobs.items():
        if record := found.get(keys[ref.email_id]):
            email = codec.decode_email(record.value)
            if part := found.get(store.keys.part(ref)):
                email = wide.with_parts(email, parts.decoded(store, [part]))
            if ref.queue in email.queues:
                waiting[key] = Waiting(ref, due, job.recipients, email)
    return waiting
