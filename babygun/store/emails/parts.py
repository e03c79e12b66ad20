"""Reading the parts of wide e-mails.

An e-mail has the same parts from its acceptance until it is removed.
"""

from __future__ import annotations

from collections.abc import Iterable

from babygun.email import wide
from babygun.email.model import Email, Part
from babygun.etcd import KeyValue
from babygun.store import codec
from babygun.store.keys import JobRef, range_end
from babygun.store.store import Store

# In one read. Most are smaller than 1 KB.
PAGE = 200


async def read_parts(store: Store, email_id: str, revision: int) -> dict[str, Part]:
    """All parts as they were at ``revision``, by queue. Raises EtcdError."""
    found: dict[str, Part] = {}
    more, after = True, ""
    while more:
        page, more = await read_page(store, email_id, revision, after)
        found |= page
        after = max(page, default="")
    return found


async def read_page(
    store: Store, email_id: str, revision: int, after: str
) -> tuple[dict[str, Part], bool]:
    """The next PAGE parts by name after a queue, and whether there are more."""
    prefix = store.keys.email_parts(email_id)
    start = prefix + after.encode() + b"\0" if after else prefix
    found = await store.client.range(start, range_end(prefix), limit=PAGE, revision=revision)
    return decoded(store, found.kvs), found.more


async def read_one(store: Store, ref: JobRef, revision: int) -> dict[str, Part]:
    """One queue's part as it was at ``revision``; empty if there was none."""
    key = store.keys.part(ref)
    return decoded(store, (await store.client.range(key, key + b"\0", revision=revision)).kvs)


def decoded(store: Store, kvs: Iterable[KeyValue]) -> dict[str, Part]:
    """Parts by queue."""
    return {store.keys.parse_part(kv.key).queue: codec.decode_part(kv.value) for kv in kvs}


async def queues_of(store: Store, email_id: str) -> list[str]:
    """The queues of a wide e-mail. Raises EtcdError."""
    prefix = store.keys.email_parts(email_id)
    found = await store.client.range(prefix, range_end(prefix), keys_only=True)
    return [store.keys.parse_part(kv.key).queue for kv in found.kvs]


async def with_all_parts(store: Store, email: Email, revision: int) -> Email:
    """An e-mail with all of its recipients, as it was at ``revision``: for people to read.

    Only then does it say when the first of a wide e-mail's queues is due.
    """
    if email.wide is None:
        return email
    return wide.shown(email, await read_parts(store, email.id, revision))
