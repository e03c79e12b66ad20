"""End marks: since when an e-mail is final, while its content is kept. Deletes contents by them.

A mark is written by the transaction that makes the e-mail final. It is deleted together with the
content, or by the retry that makes the e-mail incomplete again. So an e-mail that is not final has
none. The mark's value is the size of the content in bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from babygun.etcd import (
    Batcher,
    Compare,
    EtcdClient,
    KeyValue,
    Txn,
    absent,
    created_at,
    delete,
    delete_range,
    get_range,
    modified_at,
)
from babygun.runtime.logs import get_logger
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.keys import EndKind, Keys, range_end

log = get_logger("store")

_AT_ONCE = 100  # contents; as many transactions fit into one request


class EndMark(NamedTuple):
    """``size``: bytes of the content. ``revision``: that created the mark."""

    key: bytes
    since: datetime
    email_id: str
    size: int
    revision: int


def read(keys: Keys, kvs: Sequence[KeyValue]) -> list[EndMark]:
    """The marks in these keys. One that somebody wrote by hand is left out."""
    found = []
    for kv in kvs:
        try:
            since, email_id = keys.parse_end_mark(kv.key)
            size = int(kv.value)
        except ValueError as error:
            log_unreadable(kv.key, error)
            continue
        found.append(EndMark(kv.key, since, email_id, size, kv.create_revision))
    return found


async def delete_contents(
    client: EtcdClient, batcher: Batcher, keys: Keys, kind: EndKind, marks: Sequence[EndMark]
) -> None:
    """Deletes contents with their marks. Raises EtcdError; then some of them may be left.

    It only deletes, so a full etcd does it too.
    """
    for start in range(0, len(marks), _AT_ONCE):
        some = marks[start : start + _AT_ONCE]
        if kind == "delivered":  # nobody retries these; a late bounce takes away the mark
            txns = [_deletion(keys, mark, created_at(mark.key, mark.revision)) for mark in some]
        else:
            txns = await _undelivered(client, keys, some)
        await asyncio.gather(*map(batcher.submit, txns))


async def _undelivered(client: EtcdClient, keys: Keys, marks: Sequence[EndMark]) -> list[Txn]:
    """Deletions that hold only if no retry comes in between.

    A mark has the revision of its record. So no record is read, as long as that is so: a hundred of
    them can be 30 MB.
    """
    records = [keys.email(mark.email_id) for mark in marks]
    seen = await client.read([get_range(key, key + b"\0", keys_only=True) for key in records])
    txns, changed = list[Txn](), list[EndMark]()
    for index, (mark, email_key) in enumerate(zip(marks, records, strict=True)):
        found = seen.kvs(index)
        if not found:
            txns.append(_deletion(keys, mark, absent(email_key)))
        elif found[0].mod_revision == mark.revision:
            txns.append(_deletion(keys, mark, modified_at(email_key, mark.revision)))
        else:
            changed.append(mark)
    for mark in changed:
        txns += await _of_changed(client, keys, mark)
    return txns


async def _of_changed(client: EtcdClient, keys: Keys, mark: EndMark) -> list[Txn]:
    """The same where the record was written after its mark, as by a copy of all keys."""
    email_key = keys.email(mark.email_id)
    found = await client.get(email_key)
    if found is None:
        return []  # it has just gone: the next round finds that
    try:
        final = codec.decode_email(found.value).final
    except ValueError as error:
        log.error("record unreadable", email_id=mark.email_id, error=str(error))
        return []
    if final:  # a late bounce or a complaint may have replaced the mark meanwhile
        same = modified_at(email_key, found.mod_revision), created_at(mark.key, mark.revision)
        return [_deletion(keys, mark, *same)]
    # A retry deletes the mark, so this one was put there by hand.
    return [Txn([], [delete(mark.key)])]


def _deletion(keys: Keys, mark: EndMark, *compares: Compare) -> Txn:
    content = keys.content(mark.email_id)
    return Txn(compares, [delete_range(content, range_end(content)), delete(mark.key)])
