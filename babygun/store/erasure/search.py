"""Finds what names a recipient: it reads all e-mails, notices and suppressions, page by page.

A search can stop after each page, and go on from its :class:`Place` in another process.

Notices move while they are read, and a replay moves them back. So at last the search looks at all
keys of notices again, as they were at one revision: there each notice has one key. It takes those
that were written since it began with the notices. If etcd drops that history before the end, the
next look takes less: of what this one has reached, only what was written after its revision.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Literal, NamedTuple, get_args

import msgspec

from babygun.email.addresses import comparable, hash_of
from babygun.email.erasure import recipient_of
from babygun.errors import Compacted, FutureRevision, InvalidRequest, Violation
from babygun.etcd import KeyValue, Range, get_range
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.keys import Keys, range_end
from babygun.store.store import Store

# In this order, which is that of what happens: a cancellation makes notices ready, and these become
# due or sent. So nearly all that moves meanwhile is found later.
Phase = Literal["emails", "parts", "notices", "notices-due", "notices-sent", "suppressions"]
PHASES: tuple[Phase, ...] = get_args(Phase)
# Keys of one read. A record may have 400 KB, a notice 1.4 MB.
_PAGE: dict[Phase, int] = {"emails": 200, "parts": 500}
_NOTICES = 100
_KEYS = 1000  # of one read of the second look, without values
MOST_LOOKS = 5  # at the notices of one revision: etcd may drop that history before the end


_Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class Reached(NamedTuple):
    """The key before which all was looked at, as it was at ``revision``. 0: none was."""

    phase: Phase = "notices"
    at: bytes = b""
    revision: _Number = 0

    def has(self, phase: Phase, at: bytes) -> bool:
        return (PHASES.index(phase), at) < (PHASES.index(self.phase), self.at)


class Place(NamedTuple):
    """Where a search goes on. ``at``: the key to begin with, without the phase's prefix.

    ``since``: the revision at which it began with the notices. ``revision``: that of the second
    look at them; 0: it is not that far. ``looks``: how many of these have begun. ``reached``: by
    an earlier one.
    """

    phase: Phase = "emails"
    at: bytes = b""
    since: _Number = 0
    revision: _Number = 0
    looks: _Number = 0
    reached: Reached = Reached()

    @property
    def cursor(self) -> str:
        """As callers of the API get it."""
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).decode()

    def look(self, now: int) -> Place:
        """Where the next second look begins, at the revision ``now``.

        After a restore from a backup, revisions may be later than ``now``: they say nothing there.
        """
        since = self.since if self.since <= now else 0
        reached = self.reached
        if self.revision and not reached.has(self.phase, self.at):
            reached = Reached(self.phase, self.at, self.revision)
        if reached.revision > now:
            reached = Reached()
        return Place("notices", b"", since, now, self.looks + 1, reached)

    def is_new(self, at: bytes, revision: int) -> bool:
        """Whether a key of this phase that was written at a revision was not looked at so far."""
        reached = self.reached
        return revision > (reached.revision if reached.has(self.phase, at) else self.since)


_decode_place = msgspec.msgpack.Decoder(Place).decode


def place_of(cursor: str) -> Place:
    """The place of a cursor. Raises InvalidRequest."""
    try:
        return _decode_place(base64.urlsafe_b64decode(cursor.encode()))
    except ValueError:
        detail = "The cursor is not one from an earlier call."
        raise InvalidRequest([Violation("cursor", detail)]) from None


class Hit(NamedTuple):
    """A key that names the recipient, or may do so."""

    phase: Phase
    kv: KeyValue


class Page(NamedTuple):
    """``read``: how many keys were read for it. ``next``: None after the last page.

    ``whole``: False: no look ended in time, so a notice that moved may not have been found.
    """

    hits: list[Hit]
    read: int
    next: Place | None
    whole: bool = True


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
        if place.revision:
            return await self._second_look(place)
        prefix = prefix_of(self.store.keys, place.phase)
        limit = _PAGE.get(place.phase, _NOTICES)
        found = await self.store.client.range(prefix + place.at, range_end(prefix), limit=limit)
        hits = [Hit(place.phase, kv) for kv in found.kvs if self._is_hit(place.phase, kv)]
        if place.phase == "notices" and not place.since:
            place = place._replace(since=found.revision)
        return Page(hits, len(found.kvs), _next(place, found, prefix))

    async def _second_look(self, place: Place) -> Page:
        """Finds the notices that were written since the search began with them."""
        client, revision = self.store.client, place.revision
        prefix = prefix_of(self.store.keys, place.phase)
        hits: list[Hit] = []
        try:
            found = await client.range(
                prefix + place.at, range_end(prefix), limit=_KEYS, revision=revision, keys_only=True
            )
            moved = [
                kv.key for kv in found.kvs if place.is_new(kv.key[len(prefix) :], kv.mod_revision)
            ]
            for start in range(0, len(moved), _NOTICES):
                some = moved[start : start + _NOTICES]
                reads = [get_range(key, key + b"\0", revision=revision) for key in some]
                result = await client.read(reads)
                kvs = [kv for index in range(len(some)) for kv in result.kvs(index)]
                hits += [Hit(place.phase, kv) for kv in kvs if self._is_hit(place.phase, kv)]
        except (Compacted, FutureRevision):
            if place.looks >= MOST_LOOKS:
                return Page([], 0, Place("suppressions"), whole=False)
            now = (await client.range(prefix, prefix + b"\0", keys_only=True)).revision
            return Page([], 0, place.look(now))
        return Page(hits, len(found.kvs), _next(place, found, prefix))

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


def _next(place: Place, found: Range, prefix: bytes) -> Place:
    """Where it goes on behind what was found."""
    if found.more:
        return place._replace(at=found.kvs[-1].key[len(prefix) :] + b"\0")
    if place.phase == "notices-sent":
        return Place("suppressions") if place.revision else place.look(found.revision)
    return place._replace(phase=PHASES[PHASES.index(place.phase) + 1], at=b"")


def may_name(mailbox: str) -> Callable[[bytes], bool]:
    """Whether JSON may name a mailbox: quick, and never wrong where it says no."""
    local = mailbox.rpartition("@")[0]
    if not local.isascii() or '"' in local or "\\" in local:
        return lambda value: True
    needle = local.encode()
    return lambda value: needle in value.lower()
