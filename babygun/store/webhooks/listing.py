"""What was sent to a webhook, and what waits: the newest event first, page by page.

Events sort by their ids, which begin with the e-mail's. A page shows what etcd held at one
revision, and reads a bounded number of keys.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator
from datetime import datetime
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from babygun.email.ids import created_ms, is_email_id
from babygun.etcd import KeyValue, get
from babygun.runtime.clock import utc_now
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.keys import range_end
from babygun.store.newest_first import AtOneRevision, newest_end, newest_first
from babygun.store.store import Store
from babygun.store.webhooks.records import Notice, NoticeState

# Notices that were sent or have failed, and that one page reads at most.
SCAN_KEYS = 1000
# Notices that wait for their next try, of which a page knows: those that are due first.
MOST_DUE = 5000
_CHUNK = 100  # keys that are read at a time, about
_ID = 36  # characters of an e-mail's id


class Delivery(NamedTuple):
    """A notice without its event's body, which may be large. ``email_id``: None: it is of none.

    ``next_try_at``: None if it is ready now, sent, or failed.
    """

    event_id: str
    type: str
    email_id: str | None
    notice: Notice
    next_try_at: datetime | None


class Page(NamedTuple):
    """``cursor``: where the next page begins; None: there is none."""

    deliveries: list[Delivery]
    cursor: str | None


async def list_notices(
    store: Store, webhook_id: str, *, state: NoticeState | None, limit: int, cursor: str | None
) -> Page:
    """A page of a webhook's notices. Raises ValueError on a cursor of another form, EtcdError.

    With a state a page can be short, or empty, though more follow.
    """
    if cursor is not None and not is_email_id(cursor[:_ID]):
        raise ValueError("no cursor of an earlier page")
    listing = _Listing(store, webhook_id, cursor)
    if state in ("sent", "failed"):
        return await listing.final(state, limit)
    return await listing.all(limit, with_final=state is None)


class _Listing:
    """Reads one page. All reads are at the revision of the first one."""

    def __init__(self, store: Store, webhook_id: str, cursor: str | None) -> None:
        self._store, self._webhook_id, self._cursor = store, webhook_id, cursor
        self._reads = AtOneRevision(store.client)

    async def final(self, state: NoticeState, limit: int) -> Page:
        """Those that were sent, or those that have failed."""
        found: list[Delivery] = []
        seen, last = 0, ""
        async for kv in self._newest(self._store.keys.webhook_sent_notices(self._webhook_id)):
            if len(found) == limit or seen == SCAN_KEYS:
                return Page(found, last)
            seen, last = seen + 1, self._store.keys.last_part(kv.key)
            delivery = self._delivery(kv)
            if delivery and delivery.notice.state == state:
                found.append(delivery)
        return Page(found, None)

    async def all(self, limit: int, *, with_final: bool) -> Page:
        """Those that wait, and all others ``with_final``."""
        keys = self._store.keys
        prefixes = [keys.webhook_notices(self._webhook_id)]
        if with_final:
            prefixes.append(keys.webhook_sent_notices(self._webhook_id))
        found = [(keys.last_part(kv.key), kv) for kv in await self._due()]
        for prefix in prefixes:
            left = limit + 1
            async for kv in self._newest(prefix):
                found.append((keys.last_part(kv.key), kv))
                left -= 1
                if not left:
                    break
        page = heapq.nlargest(limit + 1, found, key=lambda one: one[0])
        shown = await self._with_values([kv for _, kv in page[:limit]])
        deliveries = [one for kv in shown if (one := self._delivery(kv))]
        return Page(deliveries, page[limit - 1][0] if len(page) > limit else None)

    async def _newest(self, prefix: bytes) -> AsyncIterator[KeyValue]:
        """The keys under the prefix before the cursor, the newest first."""
        if self._cursor is None:
            now_ms = int(utc_now().timestamp() * 1000) + 1
            end, end_ms = await newest_end(self._reads.range, prefix, now_ms)
        else:
            end, end_ms = prefix + self._cursor.encode(), created_ms(self._cursor) + 1
        async for kvs in newest_first(self._reads.range, prefix, _CHUNK, end=end, end_ms=end_ms):
            for kv in kvs:
                yield kv

    async def _due(self) -> list[KeyValue]:
        """Those that wait for their next try, of events before the cursor; without values."""
        prefix = self._store.keys.webhook_due_notices(self._webhook_id)
        found = await self._reads.range(prefix, range_end(prefix), limit=MOST_DUE, keys_only=True)
        last_part, cursor = self._store.keys.last_part, self._cursor
        return [kv for kv in found.kvs if cursor is None or last_part(kv.key) < cursor]

    async def _with_values(self, kvs: list[KeyValue]) -> list[KeyValue]:
        """The keys with the values of those that were read without."""
        bare = [place for place, kv in enumerate(kvs) if not kv.value]
        if bare:
            result = await self._store.client.read(
                [get(kvs[place].key, revision=self._reads.revision) for place in bare]
            )
            for index, place in enumerate(bare):
                [kvs[place]] = result.kvs(index)
        return kvs

    def _delivery(self, kv: KeyValue) -> Delivery | None:
        """None: somebody wrote this key, or its value, by hand."""
        keys = self._store.keys
        due = None
        try:
            if kv.key.startswith(keys.due_notices):
                due = keys.parse_due_notice(kv.key)[0]
            notice = codec.decode_notice(kv.value)
            event = _decode_event(notice.event)
        except ValueError as error:
            log_unreadable(kv.key, error)
            return None
        return Delivery(
            keys.last_part(kv.key),
            event.type,
            event.data.email_id or None,
            replace(notice, event=_NOTHING),
            due,
        )


class _Data(msgspec.Struct, gc=False):
    email_id: str = ""


class _Event(msgspec.Struct, gc=False):
    """Of an event, what a list shows."""

    type: str
    data: _Data


_decode_event = msgspec.json.Decoder(_Event).decode
_NOTHING = msgspec.Raw()
