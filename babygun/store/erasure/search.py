"""Finds what names a recipient: it reads all e-mails, notices and suppressions, page by page.

A search can stop after each page, and go on from its :class:`Place` in another process.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from typing import Literal, NamedTuple, get_args

from babygun.email.addresses import comparable, hash_of
from babygun.email.erasure import recipient_of
from babygun.errors import InvalidRequest, Violation
from babygun.etcd import KeyValue
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.keys import Keys, range_end
from babygun.store.store import Store

# In this order, which is that of what happens: a cancellation makes notices ready, and these become
# due or sent. So what moves meanwhile is found later.
Phase = Literal["emails", "parts", "notices", "notices-due", "notices-sent", "suppressions"]
PHASES: tuple[Phase, ...] = get_args(Phase)
# Keys of one read. A record may have 400 KB, a notice 1.4 MB.
_PAGE: dict[Phase, int] = {"emails": 200, "parts": 500}
_NOTICES = 100


class Place(NamedTuple):
    """Where a search goes on. ``at``: the key to begin with, without the phase's prefix."""

    phase: Phase = "emails"
    at: bytes = b""

    @property
    def cursor(self) -> str:
        """As callers of the API get it."""
        return base64.urlsafe_b64encode(b"%b:%b" % (self.phase.encode(), self.at)).decode()


def place_of(cursor: str) -> Place:
    """The place of a cursor. Raises InvalidRequest."""
    try:
        name, colon, at = base64.urlsafe_b64decode(cursor.encode()).partition(b":")
        phase = next(phase for phase in PHASES if colon and phase.encode() == name)
    except (ValueError, StopIteration):
        detail = "The cursor is not one from an earlier call."
        raise InvalidRequest([Violation("cursor", detail)]) from None
    return Place(phase, at)


class Hit(NamedTuple):
    """A key that names the recipient, or may do so."""

    phase: Phase
    kv: KeyValue


class Page(NamedTuple):
    """``read``: how many keys were read for it. ``next``: None after the last page."""

    hits: list[Hit]
    read: int
    next: Place | None


class Search:
    """The search for one mailbox, an address as it is compared."""

    def __init__(self, store: Store, mailbox: str) -> None:
        self.store, self.mailbox = store, mailbox
        self._may_name = may_name(mailbox)
        self._names = mailbox, hash_of(mailbox)  # as a suppression has them

    async def pages(self, place: Place | None = None) -> AsyncIterator[Page]:
        """All pages from a place on. Raises EtcdError."""
        place = place or Place()
        while place is not None:
            page = await self._page(place)
            yield page
            place = page.next

    async def _page(self, place: Place) -> Page:
        if place.phase == "suppressions":
            return await self._suppression(place)
        prefix = prefix_of(self.store.keys, place.phase)
        limit = _PAGE.get(place.phase, _NOTICES)
        found = await self.store.client.range(prefix + place.at, range_end(prefix), limit=limit)
        hits = [Hit(place.phase, kv) for kv in found.kvs if self._is_hit(place.phase, kv)]
        rest = Place(place.phase, found.kvs[-1].key[len(prefix) :] + b"\0") if found.more else None
        return Page(hits, len(found.kvs), rest or _next_phase(place.phase))

    def _is_hit(self, phase: Phase, kv: KeyValue) -> bool:
        value = kv.value
        try:
            if phase not in ("emails", "parts"):
                return self._may_name(codec.decompressed(value))
            if not self._may_name(value):
                return False
            if phase == "emails":
                return recipient_of(codec.decode_email(value), self.mailbox) is not None
            recipients = codec.decode_part(value).recipients
            return any(comparable(r.email) == self.mailbox for r in recipients)
        except ValueError as error:  # somebody wrote this key by hand
            log_unreadable(kv.key, error)
            return False

    async def _suppression(self, place: Place) -> Page:
        """The next key, and from there the place where the next list has the address.

        So it reads two or three keys of each list, and not all addresses.
        """
        keys, prefix = self.store.keys, self.store.keys.suppressions
        found = await self.store.client.range(prefix + place.at, range_end(prefix), limit=1)
        if not found.kvs:
            return Page([], 0, None)
        kv = found.kvs[0]
        try:
            client_id, list_name, _ = keys.parse_suppression(kv.key)
        except ValueError as error:  # somebody wrote this key by hand
            log_unreadable(kv.key, error)
            return Page([], 1, Place("suppressions", kv.key[len(prefix) :] + b"\0"))
        wanted = [keys.suppression(client_id, list_name, name) for name in self._names]
        further = [key for key in wanted if key > kv.key]
        start = min(further, default=range_end(keys.client_suppressions(client_id, list_name)))
        hits = [Hit("suppressions", kv)] if kv.key in wanted else []
        return Page(hits, 1, Place("suppressions", start[len(prefix) :]))


def prefix_of(keys: Keys, phase: Phase) -> bytes:
    return {
        "emails": keys.emails,
        "parts": keys.parts,
        "notices-due": keys.due_notices,
        "notices-sent": keys.sent_notices,
        "notices": keys.notices,
        "suppressions": keys.suppressions,
    }[phase]


def _next_phase(phase: Phase) -> Place | None:
    at = PHASES.index(phase) + 1
    return Place(PHASES[at]) if at < len(PHASES) else None


def may_name(mailbox: str) -> Callable[[bytes], bool]:
    """Whether JSON may name a mailbox: quick, and never wrong where it says no."""
    local = mailbox.rpartition("@")[0]
    if not local.isascii() or '"' in local or "\\" in local:
        return lambda value: True
    needle = local.encode()
    return lambda value: needle in value.lower()
