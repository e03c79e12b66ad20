"""Reads of single e-mails, of workers, and of what a worker owns.

Each reads a bounded number of keys, however full etcd is. The listing is in
:mod:`babygun.store.emails.listing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from babygun.email import wide
from babygun.email.ids import is_email_id
from babygun.email.log import entries_in_record
from babygun.email.model import Content, Email, LogEntry
from babygun.etcd import KeyValue, get, get_range
from babygun.store import codec
from babygun.store.emails import parts
from babygun.store.keys import JobRef, range_end
from babygun.store.records import Owner
from babygun.store.store import Store

_OWNERS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class EmailView:
    """One e-mail as it was at ``revision``.

    ``content``: None if it is not kept. ``owners``: who was sending, by queue. ``record_revision``:
    of the record's last change. ``owner_revisions``: when each owner took its queue.
    """

    email: Email
    content: Content | None
    owners: dict[str, Owner]
    revision: int
    record_revision: int
    owner_revisions: tuple[int, ...]


async def get_email(store: Store, email_id: str, *, content: bool = True) -> EmailView | None:
    """One e-mail, read at one revision. None: there is none."""
    if not is_email_id(email_id):
        return None
    owners, chunks = store.keys.email_owners(email_id), store.keys.content(email_id)
    reads = [get(store.keys.email(email_id)), get_range(owners, range_end(owners))]
    if content:
        reads.append(get_range(chunks, range_end(chunks)))
    result = await store.client.read(reads)
    records = result.kvs(0)
    if not records:
        return None
    email = codec.decode_email(records[0].value)
    email = await parts.with_all_parts(store, email, result.revision)
    chunks_kept = result.values(2) if content else []
    whole = len(chunks_kept) == email.chunks  # a content that is just being removed counts as gone
    taken = result.kvs(1)
    return EmailView(
        email,
        codec.decode_content(b"".join(chunks_kept)) if whole else None,
        _owners(store, taken),
        result.revision,
        records[0].mod_revision,
        tuple(kv.create_revision for kv in taken),
    )


async def get_log(
    store: Store, email_id: str
) -> tuple[Email, list[LogEntry], dict[str, Owner]] | None:
    """An e-mail's record, its log entries from the oldest, and who is sending it now, by queue.

    None: there is no such e-mail.
    """
    if not is_email_id(email_id):
        return None
    owners, entries = store.keys.email_owners(email_id), store.keys.log(email_id)
    result = await store.client.read(
        [
            get(store.keys.email(email_id)),
            get_range(owners, range_end(owners)),
            get_range(entries, range_end(entries)),
        ]
    )
    records = result.kvs(0)
    if not records:
        return None
    email = codec.decode_email(records[0].value)
    keyed = [codec.decode_log_entry(kv.value) for kv in result.kvs(2)]
    email = await parts.with_all_parts(store, email, result.revision)
    if email.wide is not None:
        keyed = wide.merged_log(email.wide.logs.values())
    return email, [*entries_in_record(email), *keyed], _owners(store, result.kvs(1))


def _owners(store: Store, kvs: list[KeyValue]) -> dict[str, Owner]:
    return {store.keys.parse_owner(kv.key).queue: codec.decode_owner(kv.value) for kv in kvs}


async def owned_by(store: Store, worker_id: str, *, revision: int = 0) -> list[tuple[JobRef, int]]:
    """The jobs that a worker owns, or owned at ``revision``, with their owners' create revisions.

    Reads all owner keys, which are as many as sends are in flight. Skips keys that can't be read:
    somebody put them there by hand.
    """
    owned: list[tuple[JobRef, int]] = []
    start, end = store.keys.owners, range_end(store.keys.owners)
    while True:
        found = await store.client.range(start, end, limit=_OWNERS_AT_ONCE, revision=revision)
        for kv in found.kvs:
            with suppress(ValueError):
                if codec.decode_owner(kv.value).worker_id == worker_id:
                    owned.append((store.keys.parse_owner(kv.key), kv.create_revision))
        if not found.more:
            return owned
        start = found.kvs[-1].key + b"\0"


async def read_senders(store: Store, email_ids: Sequence[str]) -> list[str | None]:
    """The envelope senders. None: the e-mail is gone, or its record can't be read.

    Raises EtcdError.
    """
    found = await store.client.read([get(store.keys.email(email_id)) for email_id in email_ids])
    senders: list[str | None] = []
    for index in range(len(email_ids)):
        try:
            senders += [codec.decode_email(kv.value).sender for kv in found.kvs(index)] or [None]
        except ValueError:
            senders.append(None)
    return senders
