"""Stores a batch of e-mails part by part. A part is one transaction: stored whole or not at all.

With an Idempotency-Key the first part is stored first. With it goes a record under the key, which
says how the batch is divided and what its ids are made from. Each further part leaves a mark beside
that key. A repeated call sees by these marks which parts are stored. It stores the missing ones
under their first ids. So nothing is stored twice, even if the e-mails are gone by then.
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
from babygun.store.emails.acceptance import write
from babygun.store.emails.new_email import NewEmail, looked_up
from babygun.store.keys import range_end
from babygun.store.records import BatchMark, BatchRecord, IdempotencyRecord
from babygun.store.store import Store

PART_EMAILS = 100
# Operations. Nested, they count for 45 of etcd's 128.
PART_OPS = 500
# A part must not hold up other writes for long. One e-mail that is larger is a part of its own.
PART_BYTES = 512 * 1024
# Bytes that a notice has more than its e-mail's record, about.
_MORE_THAN_RECORD = 400
# Parts of one batch under way: etcd serves other calls too.
AT_ONCE = 4

# The e-mails of a batch in their order. None: refused.
Prepared = Sequence[NewEmail | None]


@dataclass(slots=True)
class BatchOutcome:
    """``ids``: of each e-mail, in order. None: it is refused, or not known to be stored.

    ``errors``: why an e-mail is not known to be stored, by its index. ``repeated``: the
    Idempotency-Key was known. ``suppressed``: which recipients of an e-mail are, by its index.
    ``stored``: the e-mails that this call has stored.
    """

    ids: list[str | None]
    errors: dict[int, BabygunError] = field(default_factory=dict)
    repeated: bool = False
    suppressed: dict[int, tuple[int, ...]] = field(default_factory=dict)
    stored: list[NewEmail] = field(default_factory=list)


async def accept_batch(
    store: Store,
    client_id: str,
    record: BatchRecord,
    emails: Prepared,
    *,
    idempotency_key: str | None,
    fingerprint: str,
    prepare_again: Callable[[BatchRecord], Awaitable[Prepared]],
) -> BatchOutcome:
    """Stores a batch. At least one e-mail of it is not refused.

    ``record``: its ``count``, ``at_ns`` and ``seed``. ``prepare_again``: prepares the e-mails with
    the ids of an earlier record.

    Raises IdempotencyConflict if the key stands for another request, and EtcdError if none of the
    e-mails is known to be stored.
    """
    emails = await _looked_up(store, emails)
    parts = list(_divided(emails, _webhooks(store, emails)))
    record = replace(
        record,
        parts=tuple(part[0] for part in parts),
        refused=tuple(n for n, new in enumerate(emails) if new is None),
        suppressed=_suppressed(emails, parts[0]),
    )
    batch = _Writer(store, record, emails, [None if new is None else new.id for new in emails])
    if idempotency_key is None:
        await batch.write(range(len(record.parts)))
    else:
        key = store.keys.idempotency(client_id, idempotency_key)
        known = await batch.write_first(key, fingerprint)
        if known is None:
            await batch.write(range(1, len(record.parts)), key)
        else:
            prefix = store.keys.idempotency_parts(client_id, idempotency_key)
            try:
                marks = (await store.client.range(prefix, range_end(prefix))).kvs
                stored = {kv.key for kv in marks}
                missing = [n for n in range(1, len(known.parts)) if _mark(key, n) not in stored]
                emails = await _looked_up(store, await prepare_again(known)) if missing else ()
            except EtcdUnavailable as error:  # the first part is stored, and others may be
                raise OutcomeUnknown(str(error)) from None
            batch = _Writer(store, known, emails, _ids(known))
            batch.outcome.repeated = True
            batch.outcome.suppressed |= known.suppressed
            for kv in marks:
                batch.outcome.suppressed |= codec.decode_state(kv.value, BatchMark).suppressed
            await batch.write(missing, key)
    return batch.end()


async def _looked_up(store: Store, emails: Prepared) -> Prepared:
    """The e-mails without those recipients that are suppressed now."""
    found = iter(await looked_up(store, [new for new in emails if new is not None]))
    return [None if new is None else next(found) for new in emails]


def _suppressed(emails: Prepared, part: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Which recipients of the e-mails of a part are suppressed, by the e-mail's index."""
    return {
        index: suppressed
        for index in part
        if (new := emails[index]) is not None and (suppressed := new.suppressed)
    }


def _webhooks(store: Store, emails: Prepared) -> int:
    """How many webhooks the client of the e-mails has."""
    client_id = next(new for new in emails if new is not None).transition.email.client_id
    known = store.webhooks.of(client_id).webhooks
    return len(known.webhooks) if known else 0


def _divided(emails: Prepared, webhooks: int = 0) -> Iterator[list[int]]:
    """The parts, as indexes of the e-mails.

    ``webhooks``: each has about one notice of each e-mail, which is about as long as its record.
    """
    part: list[int] = []
    ops = size = 0
    for index, new in enumerate(emails):
        if new is None:
            continue
        own_ops = len(new.ops) + webhooks
        own_size = new.size + webhooks * (len(new.ops[0].encoded) + _MORE_THAN_RECORD)
        ops += own_ops
        size += own_size
        if part and (len(part) == PART_EMAILS or ops > PART_OPS or size > PART_BYTES):
            yield part
            part, ops, size = [], own_ops, own_size
        part.append(index)
    yield part


def _ids(record: BatchRecord) -> list[str | None]:
    refused = frozenset(record.refused)
    return [
        None if index in refused else email_id
        for index, email_id in enumerate(email_ids(record.count, record.at_ns, record.seed))
    ]


def _mark(key: bytes, number: int) -> bytes:
    """The key that says that part ``number`` is stored."""
    return b"%b/%d" % (key, number)


class _Writer:
    """Writes the parts of one batch, and gathers what became of them."""

    def __init__(
        self, store: Store, record: BatchRecord, emails: Prepared, ids: list[str | None]
    ) -> None:
        self._store, self._record, self._emails = store, record, emails
        self._refused = frozenset(record.refused)
        self._call = new_token(8)  # in our marks: another call with the same key has another one
        self._error: EtcdError | None = None
        self.outcome = BatchOutcome(ids)

    def end(self) -> BatchOutcome:
        """What became of the batch. Raises EtcdError if nothing is stored because of etcd."""
        if self._error is None or any(self.outcome.ids):
            return self.outcome
        for error in self.outcome.errors.values():
            if isinstance(error, OutcomeUnknown):
                raise error
        raise self._error

    async def write_first(self, key: bytes, fingerprint: str) -> BatchRecord | None:
        """Stores the first part together with the record.

        If there is a record already, it is returned instead. Raises IdempotencyConflict, EtcdError.
        """
        emails = [new for index in self._part(0) if (new := self._emails[index]) is not None]
        record = IdempotencyRecord(emails[0].id, fingerprint, self._record)
        known = await write(self._store, emails, mark=(key, codec.encode_state(record)))
        if known is not None:
            first = codec.decode_idempotency(known)
            if first.fingerprint != fingerprint or first.batch is None:
                raise IdempotencyConflict
            if first.batch != self._record:
                return first.batch
        self._count(self._part(0), emails)
        return None

    async def write(self, parts: Sequence[int], key: bytes | None = None) -> None:
        """Stores the parts of these numbers, some at a time. Errors go to the outcome."""
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
        if self._error is not None:  # this part might wait as long for nothing
            reason = "not begun, since etcd did not take others of this batch"
            self._fail(part, EtcdUnavailable(reason))
            return
        emails = [new for index in part if (new := self._emails[index]) is not None]
        if len(emails) < len(part):
            reason = (
                "with this Idempotency-Key it is stored only together with other e-mails, and some "
                "of them are refused now; send them with another key"
            )
            self._fail(part, IdempotencyConflict(reason))
            return
        value = codec.encode_state(BatchMark(self._call, _suppressed(self._emails, part)))
        mark = (_mark(key, number), value) if key is not None else None
        try:
            known = await write(self._store, emails, mark=mark)
        except EtcdError as error:
            self._error = self._error or error
            self._fail(part, error)
            return
        there = None if known is None else codec.decode_state(known, BatchMark)
        if there is None or there.call == self._call:
            self._count(part, emails)
        else:
            self.outcome.suppressed |= there.suppressed

    def _part(self, number: int) -> list[int]:
        """The indexes of a part, without what was refused."""
        starts = (*self._record.parts, self._record.count)
        indexes = range(starts[number], starts[number + 1])
        return [index for index in indexes if index not in self._refused]

    def _fail(self, part: Sequence[int], error: BabygunError) -> None:
        for index in part:
            self.outcome.ids[index] = None
            self.outcome.errors[index] = error

    def _count(self, part: Sequence[int], emails: Sequence[NewEmail]) -> None:
        self.outcome.stored += emails
        self.outcome.suppressed |= _suppressed(self._emails, part)
