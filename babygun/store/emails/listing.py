"""The listing of e-mails: newest first, filtered, page by page.

A page shows what etcd held at one revision, and reads a bounded number of keys. Failed e-mails are
found by their index. Those being sent are found by their owner keys, which begin with the id too.
All others are found by their records.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from babygun.email.addresses import comparable
from babygun.email.counts import reasons_of
from babygun.email.ids import created_ms, is_email_id
from babygun.email.model import Email, EmailStatus, client_id_of
from babygun.etcd import KeyValue, Op, get, get_range
from babygun.runtime.clock import utc_now
from babygun.store import codec
from babygun.store.emails.parts import with_all_parts
from babygun.store.keys import range_end
from babygun.store.newest_first import AtOneRevision, id_floor, newest_end, newest_first
from babygun.store.records import Owner
from babygun.store.store import Store

StatusFilter = Literal[EmailStatus, "waiting", "sending"]

# Records that one page of a filtered listing reads at most. The cursor goes on from there.
SCAN_KEYS = 1000
# So many parts of wide e-mails count as one of them. Only a filter by recipient reads parts.
_PARTS_A_KEY = 20
# Records that are read and decoded at once. They take some milliseconds of this process.
_MOST_AT_ONCE = 250
# Reads in one transaction. etcd takes 128.
_AT_ONCE = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which e-mails to list: those that fit every entry.

    ``client_id``: the client that they belong to; None for all. ``client``: the same by its id
    alone. ``status``: waiting and sending are the two kinds of incomplete. ``tags``: all of them.
    ``recipients``, ``sender``: an address, or ``@`` and a domain, made
    :func:`~babygun.email.addresses.comparable`. ``subject``: texts in it, casefolded.
    ``beginning``: of the id. ``after`` and ``before``: accepted in [after, before).
    ``ended_after`` and ``ended_before``: final since a time in [ended_after, ended_before).
    ``reason``: the reply class of a recipient that was not reached, or not yet.
    """

    client_id: str | None = None
    client: str | None = None
    status: StatusFilter | None = None
    tags: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    sender: str | None = None
    subject: tuple[str, ...] = ()
    beginning: str = ""
    after: datetime | None = None
    before: datetime | None = None
    ended_after: datetime | None = None
    ended_before: datetime | None = None
    reason: str = ""

    @property
    def needs_owners(self) -> bool:
        """Whether the owner keys decide: the e-mail must be being sent, or must not."""
        return self.status in ("waiting", "sending")

    @property
    def is_none(self) -> bool:
        """Whether every record of the time asked for fits."""
        return self == Filter(after=self.after, before=self.before)

    @property
    def first_ms(self) -> int:
        """The first millisecond of which an e-mail may fit."""
        return max(_ms(self.after), int(self._digits.ljust(12, "0"), 16))

    @property
    def end_ms(self) -> int | None:
        """The first millisecond after these. None: there is no such limit."""
        ends = [_ms(self.before)] if self.before is not None else []
        if self.beginning:
            ends.append(int(self._digits.ljust(12, "f"), 16) + 1)
        return min(ends, default=None)

    @property
    def _digits(self) -> str:
        """What is known of an id's 12 hex digits that are its time."""
        return self.beginning.replace("-", "")[:12]

    def fits(self, email: Email) -> bool:
        """Whether the record fits. It does not say whether the e-mail is being sent.

        That of a wide e-mail does not name its recipients either.
        """
        wanted: StatusFilter | None = "incomplete" if self.needs_owners else self.status
        return (
            (self.client_id is None or email.client_id == self.client_id)
            and (self.client is None or client_id_of(email.client_id) == self.client)
            and (wanted is None or email.status == wanted)
            and all(tag in email.tags for tag in self.tags)
            and email.id.startswith(self.beginning)
            and (self.sender is None or _is_for(email.sender, self.sender))
            and self._names(email.subject)
            and self._ended(email)
            and (not self.reason or self.reason in reasons_of(email))
            and (not self.recipients or email.wide is not None or self.is_for(email))
        )

    def _names(self, subject: str) -> bool:
        if not self.subject:
            return True
        subject = subject.casefold()
        return all(word in subject for word in self.subject)

    def _ended(self, email: Email) -> bool:
        if self.ended_after is None and self.ended_before is None:
            return True
        return (
            email.final
            and (self.ended_after is None or email.updated_at >= self.ended_after)
            and (self.ended_before is None or email.updated_at < self.ended_before)
        )

    def is_for(self, email: Email) -> bool:
        """Whether it is for all the recipients; of a wide e-mail, all parts are at hand."""
        return all(
            any(_is_for(one.email, wanted) for one in email.recipients)
            for wanted in self.recipients
        )


@dataclass(frozen=True, slots=True)
class Page:
    """``cursor`` leads to the next page, None at the end. A short page may have one too.

    ``owners``: who is sending, by e-mail and queue. ``revision``: of etcd, when it was so.
    """

    emails: list[Email]
    cursor: str | None
    revision: int
    owners: dict[str, dict[str, Owner]] = field(default_factory=dict)


def _is_for(email: str, wanted: str) -> bool:
    email = comparable(email)
    return email[email.rfind("@") :] == wanted if wanted.startswith("@") else email == wanted


async def list_emails(
    store: Store, *, limit: int, cursor: str | None = None, wanted: Filter | None = None
) -> Page:
    """The newest e-mails before ``cursor`` that fit the filter."""
    return await _Listing(store, wanted or Filter()).page(limit, cursor)


class _Listing:
    """Reads one page. All reads are at the revision of the first one."""

    def __init__(self, store: Store, wanted: Filter) -> None:
        self._store, self._wanted = store, wanted
        self._reads = AtOneRevision(store.client)
        keys = store.keys
        self._prefix = (
            keys.failures
            if wanted.status == "failed"
            else keys.owners
            if wanted.status == "sending"
            else keys.emails
        )
        self._owners: dict[str, dict[str, Owner]] = {}

    async def page(self, limit: int, cursor: str | None) -> Page:
        wanted = self._wanted
        emails: list[Email] = []
        seen = 0
        last: str | None = None
        chunk = limit + 1 if wanted.is_none else max(limit + 1, 100)
        async for kvs in self._newest_first(cursor, min(chunk, _MOST_AT_ONCE)):
            for email in await self._fitting(kvs):
                if len(emails) == limit or seen == SCAN_KEYS:
                    return await self._finished(emails, last)
                seen += 1
                last = email.id
                if not wanted.fits(email) or (
                    wanted.needs_owners
                    and bool(self._owners.get(email.id)) != (wanted.status == "sending")
                ):
                    continue
                if email.wide and wanted.recipients:
                    whole = await with_all_parts(self._store, email, self._reads.revision)
                    seen = min(SCAN_KEYS, seen + len(whole.queues) // _PARTS_A_KEY)
                    if not wanted.is_for(whole):
                        continue
                emails.append(email)
        return await self._finished(emails, None)

    async def _fitting(self, kvs: list[KeyValue]) -> list[Email]:
        """The records of some keys, in their order. Reads the owners too, if these decide."""
        if self._prefix == self._store.keys.emails:
            emails = [codec.decode_email(kv.value) for kv in kvs]
        else:
            emails = await self._records(dict.fromkeys(self._email_id(kv.key) for kv in kvs))
        if self._wanted.needs_owners:
            await self._read_owners([email for email in emails if self._wanted.fits(email)])
        return emails

    async def _finished(self, emails: list[Email], cursor: str | None) -> Page:
        await self._read_owners([email for email in emails if email.id not in self._owners])
        return Page(
            emails,
            cursor,
            self._reads.revision,
            {email.id: self._owners[email.id] for email in emails if self._owners.get(email.id)},
        )

    async def _read_owners(self, emails: Sequence[Email]) -> None:
        """The owners of those that are not final. The others have none."""
        keys = self._store.keys
        ids = [email.id for email in emails if not email.final]
        ops = [
            get_range(start, range_end(start), revision=self._reads.revision)
            for start in map(keys.email_owners, ids)
        ]
        for email_id, kvs in zip(ids, await self._read(ops), strict=True):
            self._owners[email_id] = {
                keys.parse_owner(kv.key).queue: codec.decode_owner(kv.value) for kv in kvs
            }

    async def _records(self, ids: Sequence[str] | dict[str, None]) -> list[Email]:
        """The records of these ids, in their order; missing ones are left out."""
        found = await self._read(
            [
                get(self._store.keys.email(email_id), revision=self._reads.revision)
                for email_id in ids
            ]
        )
        return [codec.decode_email(kvs[0].value) for kvs in found if kvs]

    async def _read(self, ops: list[Op]) -> list[list[KeyValue]]:
        found: list[list[KeyValue]] = []
        for at in range(0, len(ops), _AT_ONCE):
            part = ops[at : at + _AT_ONCE]
            result = await self._store.client.read(part)
            found += [result.kvs(index) for index in range(len(part))]
        return found

    def _email_id(self, key: bytes) -> str:
        """The id that a key begins with after the prefix."""
        return key[len(self._prefix) :].partition(b"/")[0].decode(errors="replace")

    async def _newest_first(self, cursor: str | None, chunk: int) -> AsyncIterator[list[KeyValue]]:
        """The keys under the prefix from the newest, about ``chunk`` at a time.

        All keys of one id come at once.
        """
        end, end_ms = await self._end(cursor)
        least_ms = self._wanted.first_ms
        async for kvs in newest_first(
            self._reads.range, self._prefix, chunk, end=end, end_ms=end_ms, least_ms=least_ms
        ):
            yield kvs

    async def _end(self, cursor: str | None) -> tuple[bytes, int]:
        """Where the listing begins: a key and a time in milliseconds; all of it is before both."""
        before_ms = self._wanted.end_ms
        if cursor and is_email_id(cursor) and (before_ms is None or created_ms(cursor) < before_ms):
            return self._prefix + cursor.encode(), created_ms(cursor) + 1
        if before_ms is not None:
            return self._prefix + id_floor(before_ms), before_ms
        return await newest_end(
            self._reads.range, self._prefix, int(utc_now().timestamp() * 1000) + 1
        )


def _ms(at: datetime | None) -> int:
    """The first millisecond since the epoch that is not before ``at``."""
    return 0 if at is None else max(0, math.ceil((at - _EPOCH) / _MS))
