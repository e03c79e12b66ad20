"""Erases all that names a recipient, page by page, or counts it only.

A call ends after a while with the place where the next one goes on. A crash loses nothing: the same
call, or a new one from the start, erases what is left.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from babygun.email.addresses import hash_of, is_hash
from babygun.email.erasure import is_alone
from babygun.email.suppression import replaces
from babygun.errors import LeaseNotFound
from babygun.etcd import Op, Txn, delete, modified_at, put, unchanged
from babygun.runtime.clock import utc_now
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.erasure import notices
from babygun.store.erasure.emails import NOBODY, Asker, erase_in_email
from babygun.store.erasure.search import Hit, Place, Search
from babygun.store.keys import JobRef
from babygun.store.store import Store

# What becomes of suppressions. hash: mail still does not go there, and the address is not kept.
Suppressions = Literal["hash", "delete"]


class Report(Struct, frozen=True, kw_only=True):
    """What an erasure did, or found if it only counts.

    ``deleted``: e-mails for nobody else. ``erased``: e-mails of which others keep theirs.
    ``notices`` and ``suppressions``: that named the address. ``under_way``: e-mails and notices
    that could not be erased yet, or may not have been found. ``read``: keys. ``next``: where to go
    on; None at the end.
    """

    deleted: int = 0
    erased: int = 0
    notices: int = 0
    suppressions: int = 0
    under_way: int = 0
    read: int = 0
    next: Place | None = None


async def erase_recipient(
    store: Store,
    mailbox: str,
    *,
    place: Place | None = None,
    seconds: float,
    suppressions: Suppressions = "hash",
    dry_run: bool = False,
    asker: Asker = NOBODY,
) -> Report:
    """Erases from a place on, until the end or for ``seconds``. ``mailbox``: comparable.

    Raises EtcdError: the call can be repeated.
    """
    erasure = _Erasure(store, mailbox, suppressions, dry_run, asker)
    until = time.monotonic() + seconds
    read = 0
    following: Place | None = None
    async for page in Search(store, mailbox).pages(place):
        read += page.read
        await erasure.take(page.hits)
        erasure.counts["under_way"] += not page.whole
        following = page.next
        if time.monotonic() > until:
            break
    return Report(**erasure.counts, read=read, next=following)


class _Erasure:
    def __init__(
        self, store: Store, mailbox: str, suppressions: Suppressions, dry_run: bool, asker: Asker
    ) -> None:
        self._store, self._mailbox, self._asker = store, mailbox, asker
        self._suppressions, self._dry_run = suppressions, dry_run
        self.counts = Counter[str]()

    async def take(self, hits: Sequence[Hit]) -> None:
        """Erases, or counts, what one page has found."""
        match hits[0].phase if hits else "":
            case "emails" | "parts":
                for hit in hits:
                    self._count(await self._one(hit, self._email))
            case "suppressions":
                for hit in hits:
                    self._count(await self._one(hit, self._suppression))
            case "notices" | "notices-due" | "notices-sent":
                found = notices.found_in(hits, self._mailbox)
                written = len(found) if self._dry_run else await notices.write(self._store, found)
                self._count("notices", written)
                self._count("under_way", len(found) - written)

    async def _one(self, hit: Hit, erase: Callable[[Hit], Awaitable[str]]) -> str:
        """What ``erase`` says. What can't be read is left, and the rest is erased."""
        try:
            return await erase(hit)
        except ValueError as error:  # somebody wrote a key by hand
            log_unreadable(hit.kv.key, error)
            return "under_way"

    def _count(self, what: str, number: int = 1) -> None:
        if what:
            self.counts[what] += number

    async def _email(self, hit: Hit) -> str:
        """What it counts as; empty: as nothing."""
        keys = self._store.keys
        ref = JobRef(keys.email_id(hit.kv.key), "")
        if hit.phase == "parts":
            ref = keys.parse_part(hit.kv.key)
        if self._dry_run:
            alone = hit.phase == "emails" and is_alone(
                codec.decode_email(hit.kv.value), self._mailbox
            )
            return "deleted" if alone else "erased"
        fate = await erase_in_email(
            self._store, ref.email_id, self._mailbox, queue=ref.queue, asker=self._asker
        )
        return {"sending": "under_way", "gone": ""}.get(fate, fate)

    async def _suppression(self, hit: Hit) -> str:
        """As :meth:`_email`."""
        keys, kv = self._store.keys, hit.kv
        client_id, list_name, name = keys.parse_suppression(kv.key)
        keeps = self._suppressions == "hash"
        if keeps and is_hash(name):  # by an earlier erasure
            return ""
        if self._dry_run:
            return "suppressions"
        compares = [modified_at(kv.key, kv.mod_revision)]
        ops: list[Op] = [delete(kv.key)]
        if keeps:
            key = keys.suppression(client_id, list_name, hash_of(self._mailbox))
            there = await self._store.client.get(key)  # by an earlier erasure
            compares.append(unchanged(key, there))
            # The server's words may name the address, and the e-mail is gone.
            bare = replace(codec.decode_suppression(kv.value), email_id=None, reply=None)
            if there is None or replaces(bare, codec.decode_suppression(there.value), utc_now()):
                ops.append(put(key, codec.encode_state(bare), kv.lease))
        try:
            txn = Txn(compares, ops)
            written = (await self._store.client.txn(txn)).succeeded
        except LeaseNotFound:  # it goes with its lease
            written = False
        return "suppressions" if written else "under_way"
