"""A batch of e-mails, stored part by part: a part is one transaction of up to PART_EMAILS, and is stored whole or not at all.

With an Idempotency-Key the first part goes first, and with it a record under the key that says how the batch is cut and what its
ids are made from. Each further part leaves a mark of its own beside that key. So a call that is repeated, whatever became of the
first one, finds what is stored by these marks alone, stores what is missing under the ids that it had from the beginning, and
nothing is stored twice, however long ago its e-mails have ended and gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from babygun.email.ids import email_ids
from babygun.errors import (
    BabygunError,
    EtcdError,
    EtcdUnavailable,
    IdempotencyConflict,
    OutcomeUnknown,
)
from babygun.runtime.identifiers import new_token
from babygun.store import codec
from babygun.store.emails.acceptance import NewEmail, write
from babygun.store.keys import range_end
from babygun.store.records import BatchRecord, IdempotencyRecord
from babygun.store.store import Store

PART_EMAILS = 100
PART_OPS = 500  # nested, they count for 45 of etcd's 128
PART_BYTES = (
    512 * 1024
)  # so that it holds up nobody for long; one e-mail that is larger is a part of its own
AT_ONCE = 4  # parts of one batch under way: etcd serves others too

Prepared = Sequence[NewEmail | None]
"""The e-mails of a batch in their order; None: refused."""


@dataclass(slots=True)
class BatchOutcome:
    """``ids``: of each e-mail, in order; None: refused, or not known to be stored, and then ``errors`` says why. ``repeated``: the
    Idempotency-Key was known. ``emails`` and ``recipients``: how many this call has stored itself."""

    ids: list[str | None]
    errors: dict[int, BabygunError] = field(default_factory=dict)
    repeated: bool = False
    emails: int = 0
    recipients: int = 0


async def accept_batch(
    store: Store,
    client_id: str,
    record: BatchRecord,
    emails: Prepared,
    *,
    idempotency_key: str | None,
    fingerprint: str,
    again: Callable[[BatchRecord], Awaitable[Prepared]],
) -> BatchOutcome:
    """Stores a batch of which at least one e-mail is not refused. ``record``: its ``count``, ``at_ns`` and ``seed``; ``again``: prepares the e-mails anew, for the ids of an earlier record.

    Raises IdempotencyConflict where the key stands for another request, and EtcdError where none of the e-mails is known to be stored.
    """
    record = replace(
        record,
        parts=tuple(part[0] for part in _cut(emails)),
        refused=tuple(n for n, new in enumerate(emails) if new is None),
    )
    batch = _Batch(store, record, emails, [None if new is None else new.id for new in emails])
    if idempotency_key is None:
        await batch.write(range(len(record.parts)))
    else:
        key = store.keys.idempotency(client_id, idempotency_key)
        known = await batch.write_first(key, fingerprint)
        if known is None:
            await batch.write(range(1, len(record.parts)), key)
        else:
            prefix = store.keys.idempotency_parts(client_id, idempotency_key)
            there = {
                kv.key
                for kv in (await store.client.range(prefix, range_end(prefix), keys_only=True)).kvs
            }
            missing = [
                number for number in range(1, len(known.parts)) if _mark(key, number) not in there
            ]
            batch = _Batch(store, known, await again(known) if missing else (), _ids(known))
            batch.outcome.repeated = True
            await batch.write(missing, key)
    return batch.end()


def _cut(emails: Prepared) -> Iterator[list[int]]:
    """The parts, as indexes."""
    part: list[int] = []
    ops = size = 0
    for index, new in enumerate(emails):
        if new is None:
            continue
        ops += len(new.ops)
        size += new.size
        if part and (len(part) == PART_EMAILS or ops > PART_OPS or size > PART_BYTES):
            yield part
            part, ops, size = [], len(new.ops), new.size
        part.append(index)
    yield part


def _ids(record: BatchRecord) -> list[str | None]:
    refused = frozenset(record.refused)
    return [
        None if index in refused else email_id
        for index, email_id in enumerate(email_ids(record.count, record.at_ns, record.seed))
    ]


def _mark(key: bytes, number: int) -> bytes:
    return b"%b/%d" % (key, number)


class _Batch:
    def __init__(
        self, store: Store, record: BatchRecord, emails: Prepared, ids: list[str | None]
    ) -> None:
        self._store, self._record, self._emails = store, record, emails
        self._refused = frozenset(record.refused)
        self._call = codec.encode_state(
            new_token(8)
        )  # tells our marks from those of another call with the same key
        self._error: EtcdError | None = None
        self.outcome = BatchOutcome(ids)

    def end(self) -> BatchOutcome:
        """What became of it. Raises the error where etcd is to blame that there is no id."""
        if self._error is not None and not any(self.outcome.ids):
            raise next(
                (
                    error
                    for error in self.outcome.errors.values()
                    if isinstance(error, OutcomeUnknown)
                ),
                self._error,
            )
        return self.outcome

    async def write_first(self, key: bytes, fingerprint: str) -> BatchRecord | None:
        """Stores the first part with the record; returns the record that is there already instead. Raises IdempotencyConflict, EtcdError."""
        news = [self._emails[index] for index in self._part(0)]
        emails = [new for new in news if new is not None]
        known = await write(
            self._store,
            emails,
            mark=(
                key,
                codec.encode_state(IdempotencyRecord(emails[0].id, fingerprint, self._record)),
            ),
        )
        if known is not None:
            first = codec.decode_idempotency(known)
            if first.fingerprint != fingerprint or first.batch is None:
                raise IdempotencyConflict
            if first.batch != self._record:
                return first.batch
        self._count(emails)
        return None

    async def write(self, parts: Sequence[int], key: bytes | None = None) -> None:
        """Stores the parts of these numbers, some at a time; what was not stored is among the outcome's errors."""
        if len(parts) == 1:
            await self._write_one(parts[0], key)
            return
        rest = iter(parts)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, len(parts))):
                group.create_task(self._work(rest, key))

    async def _work(self, rest: Iterator[int], key: bytes | None) -> None:
        for number in rest:
            await self._write_one(number, key)

    async def _write_one(self, number: int, key: bytes | None) -> None:
        part = self._part(number)
        if self._error is not None:  # each might wait as long
            self._fail(
                part, EtcdUnavailable("not begun, since etcd did not take others of this batch")
            )
            return
        emails = [new for index in part if (new := self._emails[index]) is not None]
        if len(emails) < len(part):
            self._fail(
                part,
                IdempotencyConflict(
                    "when this Idempotency-Key was new, this e-mail was to be stored together with others, of which some are refused now; send them with another key"
                ),
            )
            return
        try:
            known = await write(
                self._store,
                emails,
                mark=(_mark(key, number), self._call) if key is not None else None,
            )
        except EtcdError as error:
            self._error = self._error or error
            self._fail(part, error)
            return
        if known is None or known == self._call:
            self._count(emails)

    def _part(self, number: int) -> list[int]:
        """The indexes of a part, without what was refused."""
        starts = (*self._record.parts, self._record.count)
        return [
            index
            for index in range(starts[number], starts[number + 1])
            if index not in self._refused
        ]

    def _fail(self, part: Sequence[int], error: BabygunError) -> None:
        for index in part:
            self.outcome.ids[index] = None
            self.outcome.errors[index] = error

    def _count(self, emails: Sequence[NewEmail]) -> None:
        self.outcome.emails += len(emails)
        self.outcome.recipients += sum(new.recipients for new in emails)
