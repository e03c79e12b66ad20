"""Lists suppressions page by page: of one client or all, of one list or all, by prefix.

Keys are sorted by client, list and address. A prefix of an address is sought in one list after the
other, so a page may be short although more follow.
"""

from __future__ import annotations

from msgspec import Struct

from babygun.email.addresses import comparable
from babygun.email.suppression import Suppression, SuppressionReason
from babygun.etcd import KeyValue
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.keys import Keys, range_end
from babygun.store.store import Store

# Reads of one page at most: each goes over one list, or one client, that may have nothing.
_MOST_READS = 20
_KEYS = 500  # of one read


class Suppressed(Struct, frozen=True, gc=False):
    """One address on one list. ``client_id``: an identity."""

    client_id: str
    list: str
    address: str
    suppression: Suppression


class SuppressionPage(Struct, frozen=True, gc=False):
    """``cursor`` leads to the next page, None at the end. A short page may have one too."""

    found: list[Suppressed]
    cursor: str | None


async def list_suppressions(
    store: Store,
    *,
    client_id: str | None = None,
    list_name: str | None = None,
    prefix: str = "",
    reason: SuppressionReason | None = None,
    limit: int,
    cursor: str | None = None,
) -> SuppressionPage:
    """What counts now, in the order of client, list and address.

    ``client_id``: an identity; None: all clients. ``list_name``: None: all lists. ``prefix``: how
    an address begins. ``reason``: None: any. Raises EtcdError, and ValueError if the cursor
    is not one.
    """
    keys = store.keys
    scope = keys.suppressions if client_id is None else keys.client_suppressions(client_id)
    start = scope if cursor is None else _place_of(store, scope, cursor)
    begins = comparable(prefix) if "@" in prefix else prefix.lower()
    now = await store.clock.now()
    found: list[Suppressed] = []
    # Without a reason nearly all keys are wanted that are read, up to the end of the prefix.
    keys_at_once = _KEYS if reason else min(_KEYS, limit + 2)
    for _ in range(_MOST_READS):
        page = await store.client.range(start, range_end(scope), limit=keys_at_once)
        rest = page.kvs[:-1] if page.more else page.kvs  # the next read begins with the last one
        start = page.kvs[-1].key if page.more else range_end(scope)
        for kv in rest:
            if (one := _parse(store, kv)) is None:
                continue
            if place := _next_place(keys, one, list_name, begins):
                start = place
                break
            if len(found) == limit:
                return SuppressionPage(found, _cursor(keys, kv.key))
            if one.suppression.counts(now) and reason in (None, one.suppression.reason):
                found.append(one)
        if start >= range_end(scope):
            return SuppressionPage(found, None)
    return SuppressionPage(found, _cursor(keys, start))


def _cursor(keys: Keys, place: bytes) -> str:
    """``place``: the key at which the next page begins, or one before it."""
    return place[len(keys.suppressions) :].decode(errors="replace")


def _place_of(store: Store, scope: bytes, cursor: str) -> bytes:
    place = store.keys.suppressions + cursor.encode("utf-8", "surrogatepass")
    if not scope <= place < range_end(scope):
        raise ValueError("the cursor is not one from an earlier page")
    return place


def _parse(store: Store, kv: KeyValue) -> Suppressed | None:
    """None for a key that somebody put there by hand."""
    try:
        place = store.keys.parse_suppression(kv.key)
        return Suppressed(*place, codec.decode_suppression(kv.value))
    except ValueError as error:
        log_unreadable(kv.key, error)
        return None


def _next_place(keys: Keys, one: Suppressed, list_name: str | None, begins: str) -> bytes:
    """Where to read on, if this key is none of those wanted; empty if it is one."""
    wanted_list = one.list if list_name is None else list_name
    begin = keys.suppression(one.client_id, wanted_list, begins)
    key = keys.suppression(one.client_id, one.list, one.address)
    if key.startswith(begin):
        return b""
    if key < begin:
        return begin
    same_client = list_name is None
    return range_end(keys.client_suppressions(one.client_id, one.list if same_client else ""))
