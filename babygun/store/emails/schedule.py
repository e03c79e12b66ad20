"""What waits for its time, soonest first: e-mails for later, and tries that were deferred."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from babygun.etcd import KeyValue, get
from babygun.store import codec
from babygun.store.keys import JobRef, range_end
from babygun.store.store import Store

SCAN_KEYS = 1000  # that one page looks at, at most, where it is one client's
_AT_ONCE = 100  # reads in one transaction; etcd takes 128


@dataclass(frozen=True, slots=True)
class Waiting:
    """One queue of one e-mail that waits. ``recipients``: how many of it are not over."""

    ref: JobRef
    due: datetime
    recipients: int


@dataclass(frozen=True, slots=True)
class SchedulePage:
    """``cursor`` leads to the next page, later ones; None at the end. A page may be short and still have one."""

    waiting: list[Waiting]
    cursor: str | None


async def list_waiting(
    store: Store, *, client_id: str | None, limit: int, cursor: str | None = None
) -> SchedulePage:
    """The soonest after ``cursor``. ``client_id``: whose; None for everybody's. Raises ValueError where the cursor is none."""
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
    """None for a key that somebody has put there by hand."""
    try:
        due, ref = store.keys.parse_not_before(kv.key)
        return Waiting(ref, due, codec.decode_job(kv.value).recipients)
    except ValueError:
        return None


async def _owned(store: Store, kvs: list[KeyValue], client_id: str) -> set[str]:
    """The ids of those e-mails that are the client's."""
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
