"""Reads that the API and the command line answer from. Each reads a bounded number of keys, however full the store is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

from babygun import codec
from babygun.clock import utc_now
from babygun.etcd import KeyValue, Txn, get, get_range
from babygun.ids import created_ms, is_email_id
from babygun.keys import JobRef, range_end
from babygun.model import Content, Email, EmailStatus, LogEntry, Owner, Worker
from babygun.store.store import Store

SCAN_KEYS = 1000  # records that one page of a filtered listing looks at, at most; the cursor goes on from there
_FIRST_WINDOW_MS = 1000  # how far back the first look of a listing goes
_WORKERS = 1000


@dataclass(frozen=True, slots=True)
class EmailView:
    """One email as it is now. ``owners``: who is sending which queue at this moment; ``content``: None where not kept."""

    email: Email
    content: Content | None
    owners: dict[str, Owner]


@dataclass(frozen=True, slots=True)
class Page:
    """``cursor`` leads to the next page, older emails; None at the end. A page may be short and still have one."""

    emails: list[Email]
    cursor: str | None


async def get_email(store: Store, email_id: str, *, content: bool = True) -> EmailView | None:
    """One email, read at one revision; None where there is none."""
    if not is_email_id(email_id):
        return None
    owners, chunks = store.keys.email_owners(email_id), store.keys.content(email_id)
    reads = [get(store.keys.email(email_id)), get_range(owners, range_end(owners))]
    if content:
        reads.append(get_range(chunks, range_end(chunks)))
    result = await store.client.txn(Txn([], reads))
    records = result.kvs(0)
    if not records:
        return None
    email = codec.decode_email(records[0].value)
    parts = result.kvs(2) if content else []
    whole = len(parts) == email.chunks  # a content that is just being removed counts as gone
    return EmailView(email, codec.decode_content(b"".join(kv.value for kv in parts)) if whole else None, _owners(store, result.kvs(1)))


async def get_log(store: Store, email_id: str) -> tuple[Email, list[LogEntry], dict[str, Owner]] | None:
    """An email's record, its log entries from the oldest, and who is sending it now; None where there is no such email."""
    if not is_email_id(email_id):
        return None
    owners, entries = store.keys.email_owners(email_id), store.keys.log(email_id)
    result = await store.client.txn(Txn([], [get(store.keys.email(email_id)), get_range(owners, range_end(owners)), get_range(entries, range_end(entries))]))
    records = result.kvs(0)
    if not records:
        return None
    log = [codec.decode_log_entry(kv.value) for kv in result.kvs(2)]
    return codec.decode_email(records[0].value), log, _owners(store, result.kvs(1))


def _owners(store: Store, kvs: list[KeyValue]) -> dict[str, Owner]:
    return {store.keys.parse_owner(kv.key).queue: codec.decode_owner(kv.value) for kv in kvs}


async def list_emails(
    store: Store,
    *,
    client_id: str | None,
    limit: int,
    cursor: str | None = None,
    status: EmailStatus | None = None,
    tag: str | None = None,
) -> Page:
    """The newest emails before ``cursor`` that fit. ``client_id``: whose; None for everybody's."""
    failed = status == "failed"
    emails: list[Email] = []
    seen = 0
    last: str | None = None
    chunk = limit + 1 if client_id is None and status is None and tag is None else max(limit + 1, 100)
    async for kvs in _newest_first(store, store.keys.failures if failed else store.keys.emails, cursor, chunk):
        for email in await _records(store, kvs) if failed else [codec.decode_email(kv.value) for kv in kvs]:
            if len(emails) == limit or seen == SCAN_KEYS:
                return Page(emails, last)
            seen += 1
            last = email.id
            if (client_id is None or email.client_id == client_id) and (status is None or email.status == status) and (tag is None or tag in email.tags):
                emails.append(email)
    return Page(emails, None)


async def _newest_first(store: Store, prefix: bytes, before: str | None, chunk: int) -> AsyncIterator[list[KeyValue]]:
    """The keys of ``prefix`` (email ids, which sort by time) from the newest, some at a time.

    etcd sorts a descending range only after it has read all of it, whatever the limit. So this looks back in windows of
    time, read ascending: a window that holds more than ``chunk`` keys is cut, an empty one makes the next one 16 times longer.
    """
    end = prefix + before.encode() if before and is_email_id(before) else range_end(prefix)
    end_ms = created_ms(before) + 1 if before and is_email_id(before) else await _newest_ms(store, prefix)
    window = float(_FIRST_WINDOW_MS)
    probing = False
    crowded: int | None = None  # where a window began that held too many: what is left of it is halved, not overshot again
    while end_ms > 0:
        start_ms = max(0, int(end_ms - window))
        if crowded is not None and crowded >= start_ms:
            start_ms = max(start_ms, min(end_ms - 1, (crowded + end_ms) // 2))
        start = prefix + _id_floor(start_ms) if start_ms else prefix
        found = await store.client.range(start, end, limit=1 if probing else chunk)
        if found.more and found.count <= chunk:
            found = await store.client.range(start, end, limit=chunk)
        probing = found.count == 0 or found.count > chunk  # the next guess is a rough one: just count
        if probing and found.count and end_ms - start_ms > 1:
            crowded, window = start_ms, max(1.0, min((end_ms - start_ms) / 2, (end_ms - start_ms) * chunk / found.count))
            continue
        kvs = found.kvs
        while found.more:  # more than a chunk of ids in one millisecond
            found = await store.client.range(kvs[-1].key + b"\0", end, limit=SCAN_KEYS)
            kvs = kvs + found.kvs
        if kvs:
            yield kvs[::-1]
        window = (end_ms - start_ms) * (16 if not kvs else min(16.0, max(1.0, chunk / len(kvs))))
        if crowded is not None and crowded >= start_ms:
            crowded = None
        end, end_ms = start, start_ms


async def _newest_ms(store: Store, prefix: bytes) -> int:
    """A time after the newest key's: ids are made from several machines' clocks, so "now" may be before it."""
    now_ms = int(utc_now().timestamp() * 1000) + 1
    ahead = await store.client.range(prefix + _id_floor(now_ms), range_end(prefix), limit=1, keys_only=True)
    return now_ms if not ahead.kvs else now_ms + 86_400_000


def _id_floor(ms: int) -> bytes:
    """What every id of this millisecond or later sorts after."""
    digits = f"{ms:012x}"
    return f"{digits[:8]}-{digits[8:]}".encode()


async def _records(store: Store, kvs: list[KeyValue]) -> list[Email]:
    """The records that keys of an index point to, in the index's order."""
    emails: list[Email] = []
    for at in range(0, len(kvs), 100):
        part = kvs[at : at + 100]
        result = await store.client.txn(Txn([], [get(store.keys.email(store.keys.email_id(kv.key))) for kv in part]))
        emails += [codec.decode_email(found[0].value) for index in range(len(part)) if (found := result.kvs(index))]
    return emails


async def list_workers(store: Store) -> list[Worker]:
    """The workers whose lease is alive, by id."""
    found = await store.client.range(store.keys.workers, range_end(store.keys.workers), limit=_WORKERS)
    return [codec.decode_state(kv.value, Worker) for kv in found.kvs]


async def owned_by(store: Store, worker_id: str, *, revision: int = 0) -> list[tuple[JobRef, int]]:
    """What a worker owns (or owned at ``revision``), with the owner keys' create revisions.

    Reads all owner keys: as many as sends are in flight. Keys that can't be read, put there by hand, are passed over.
    """
    owned: list[tuple[JobRef, int]] = []
    start, end = store.keys.owners, range_end(store.keys.owners)
    while True:
        found = await store.client.range(start, end, limit=SCAN_KEYS, revision=revision)
        for kv in found.kvs:
            with suppress(ValueError):
                if codec.decode_owner(kv.value).worker_id == worker_id:
                    owned.append((store.keys.parse_owner(kv.key), kv.create_revision))
        if not found.more:
            return owned
        start = found.kvs[-1].key + b"\0"
