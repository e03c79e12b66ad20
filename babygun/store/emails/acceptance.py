"""Stores new e-mails: a single one, or the part of a batch that one transaction carries.

When a call here returns, what it reports is committed. A write whose answer did not come is sent
again. Its compares let it take effect only once. If the second write is refused, the first one was
applied.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from msgspec import Struct

from babygun.errors import (
    EtcdAway,
    EtcdError,
    EtcdUnavailable,
    IdempotencyConflict,
    LeaseNotFound,
    OutcomeUnknown,
    OutOfSpace,
)
from babygun.etcd import (
    NESTED,
    Compare,
    KeyValue,
    Op,
    Txn,
    TxnResult,
    absent,
    get,
    present,
    put,
)
from babygun.runtime.logs import get_logger
from babygun.store import codec
from babygun.store.emails import writes
from babygun.store.emails.new_email import NewEmail, looked_up
from babygun.store.records import IdempotencyRecord
from babygun.store.store import Store
from babygun.store.upkeep.retention import LeasePool
from babygun.store.webhooks import outbox

log = get_logger("store")

T = TypeVar("T")

# How often an acceptance is decided, if its recipients' suppressions change meanwhile.
_DECISIONS = 4
_PAUSE = 0.05  # s, between two tries of a write


class Accepted(Struct, frozen=True, gc=False):
    """``repeated``: the Idempotency-Key was known, and ``email_id`` is the first request's.

    ``suppressed``: which recipients are, in the order of the request. ``suppressed_for``: their
    reasons, for an e-mail that this call has stored.
    """

    email_id: str
    suppressed: tuple[int, ...] = ()
    repeated: bool = False
    suppressed_for: tuple[str, ...] = ()


async def accept(
    store: Store,
    client_id: str,
    new: NewEmail,
    *,
    idempotency_key: str | None = None,
    fingerprint: str = "",
) -> Accepted:
    """Stores a new e-mail. When this returns, it is committed.

    Raises IdempotencyConflict for an Idempotency-Key that stands for another request. If etcd does
    not answer within etcd_timeout, raises EtcdUnavailable where nothing is stored, else
    OutcomeUnknown: then the e-mail may or may not be stored, and nobody may acknowledge it.
    """
    key = None if idempotency_key is None else store.keys.idempotency(client_id, idempotency_key)
    if new.seen is None:
        (new,) = await looked_up(store, [new])
    for tries in range(1, _DECISIONS + 1):
        try:
            return await _accept(store, new, key, fingerprint)
        except _Refused:
            if not new.seen:
                raise
        # If they change all the time, what was there when the call came is known at least.
        try:
            (new,) = await looked_up(store, [new], compared=tries + 1 < _DECISIONS)
        except EtcdUnavailable as error:  # a write whose answer did not come may arrive yet
            raise OutcomeUnknown(str(error)) from None
    raise AssertionError("the last write compares no suppressions")


async def _accept(store: Store, new: NewEmail, key: bytes | None, fingerprint: str) -> Accepted:
    """Stores an e-mail whose suppressions were looked up, unless the Idempotency-Key is known.

    ``key``: in etcd. Raises _Refused, and what :func:`accept` raises.
    """
    suppressed = new.suppressed
    reasons = new.suppressed_for if suppressed else ()
    if key is None:
        await write(store, [new])
        return Accepted(new.id, suppressed, suppressed_for=reasons)
    record = IdempotencyRecord(new.id, fingerprint, suppressed=suppressed)
    known = await write(store, [new], mark=(key, codec.encode_state(record)))
    if known is None:
        return Accepted(new.id, suppressed, suppressed_for=reasons)
    first = codec.decode_idempotency(known)
    if first.email_id == new.id:  # an earlier write of this call was applied after all
        return Accepted(new.id, first.suppressed, suppressed_for=reasons)
    if first.fingerprint != fingerprint:
        raise IdempotencyConflict
    return Accepted(first.email_id, first.suppressed, repeated=True)


class _Refused(OutcomeUnknown):
    """the parts of a large e-mail expired before it was complete: the upload took too long"""

    # If suppressions were compared, they may be the reason: then the e-mail is decided again.


async def write(
    store: Store, emails: Sequence[NewEmail], *, mark: tuple[bytes, bytes] | None = None
) -> bytes | None:
    """Stores all of ``emails`` or none of them, in one transaction. Their ids are new.

    ``mark``: a key and its value, written along on a lease of idempotency_retention. If that key
    exists, nothing is stored, and its value is returned; an earlier write of this call may have
    made it. None: the e-mails are stored.

    If etcd does not answer within etcd_timeout, raises EtcdUnavailable where nothing is stored,
    else OutcomeUnknown.
    """
    first = store.keys.email(emails[0].id)  # stands for all: they are written together
    later = [chunk for new in emails for chunk in new.later]
    compares = [absent(first), *(c for new in emails for c in new.seen or ())]
    upload_lease = 0
    if later:
        compares += [present(key) for key, _ in later]
        upload_lease = await _upload(store, emails)
    try:
        if mark is not None:
            return await _write_marked(store, first, compares, emails, mark)
        await _write_unmarked(store, first, compares, emails)
        return None
    except (EtcdUnavailable, OutcomeUnknown):
        upload_lease = 0  # its end is no call's to wait for: it expires by itself
        raise
    finally:
        if upload_lease:
            # The chunks of what was accepted are off this lease by now. Others go with it.
            await asyncio.shield(asyncio.ensure_future(_revoke(store, upload_lease)))


async def _write_unmarked(
    store: Store, first: bytes, compares: Sequence[Compare], emails: Sequence[NewEmail]
) -> None:
    submit = partial(_submit, store, emails, compares)
    try:
        result = await _until_answered(store, submit, takes_leases=True)
    except OutOfSpace:
        if await _read_back(store, first) is None:
            raise
        return
    if not result.succeeded and await _read_back(store, first) is None:
        raise _Refused


async def _read_back(store: Store, key: bytes) -> KeyValue | None:
    """What is there after a write of this call that was refused.

    An earlier one may have been applied after all. And etcd may notice that it is full only after
    it has written.
    """
    try:
        return await _until_answered(store, lambda _: store.client.get(key))
    except EtcdUnavailable as error:
        raise OutcomeUnknown(str(error)) from None


async def _write_marked(
    store: Store,
    first: bytes,
    compares: Sequence[Compare],
    emails: Sequence[NewEmail],
    mark: tuple[bytes, bytes],
) -> bytes | None:
    """Writes with the mark. Returns what the mark's key held before, if it was there."""
    submit = partial(
        _submit,
        store,
        emails,
        [*compares, absent(mark[0])],
        mark=mark,
        otherwise=(get(first), get(mark[0])),
    )
    try:
        result = await _until_answered(store, submit, takes_leases=True)
    except OutOfSpace:
        if (there := await _read_back(store, mark[0])) is None:
            raise
        return there.value
    if result.succeeded:
        return None
    if known := result.kvs(1):
        return known[0].value
    if result.kvs(0):
        return None  # an earlier write of this call was applied after all
    raise _Refused


async def _submit(
    store: Store,
    emails: Sequence[NewEmail],
    compares: Sequence[Compare],
    deadline: float,
    *,
    mark: tuple[bytes, bytes] | None = None,
    otherwise: Sequence[Op] = (),
) -> TxnResult:
    """Writes the e-mails and the mark, together with the notices of their client's webhooks.

    Raises LeaseNotFound if a lease is gone; the next call takes others.
    """
    leases: list[tuple[LeasePool, int]] = []
    ops: list[Op] = []
    for new in emails:
        record = new.record
        if new.transition.email.final:
            lease = await store.record_leases.lease(2 + len(new.transition.email.queues))
            leases.append((store.record_leases, lease))
            record = writes.acceptance(store.keys, new.transition, lease)
        ops += record
        ops += new.content
    if mark is not None:
        lease = await store.idempotency_leases.lease(1)
        leases.append((store.idempotency_leases, lease))
        ops.append(put(*mark, lease))
    try:
        return await outbox.submit(
            store,
            [new.transition for new in emails],
            compares,
            ops,
            otherwise,
            least_nested=NESTED,  # so that many transactions fit into one batch
            deadline=deadline,
        )
    except LeaseNotFound:
        for pool, lease in leases:
            pool.forget(lease)
        raise


async def _upload(store: Store, emails: Sequence[NewEmail]) -> int:
    """Writes the later chunks of large contents on a lease of some minutes.

    The acceptance takes them off that lease. From then on no chunk is written: it would go with
    this lease. Another call may have stored the e-mails meanwhile, and a chunk may arrive late.
    """
    try:
        lease = await store.client.grant(int(store.settings.upload_lease))
    except OutcomeUnknown as error:
        raise EtcdUnavailable(str(error)) from None  # of the e-mail itself nothing is stored
    try:
        chunks = [(new.id, key, chunk) for new in emails for key, chunk in new.later]
        # One at a time: a large e-mail must not hold up small ones.
        for email_id, key, chunk in chunks:
            txn = Txn([absent(store.keys.email(email_id))], [put(key, chunk, lease)])
            if not (await _until_answered(store, partial(_submit_by, store, txn))).succeeded:
                break  # they are stored: the acceptance says so
    except (EtcdUnavailable, OutcomeUnknown) as error:  # the lease expires by itself
        raise EtcdUnavailable(str(error)) from None
    except BaseException:
        await asyncio.shield(asyncio.ensure_future(_revoke(store, lease)))
        raise
    return lease


async def _revoke(store: Store, lease: int) -> None:
    try:
        await store.client.revoke(lease)
    except EtcdError as error:
        log.warning("upload lease not revoked", error=str(error))


async def _submit_by(store: Store, txn: Txn, deadline: float) -> TxnResult:
    return await store.batcher.submit(txn, deadline=deadline)


async def _until_answered(
    store: Store, write: Callable[[float], Awaitable[T]], *, takes_leases: bool = False
) -> T:
    """Repeats a write that is safe to repeat, until etcd has answered.

    Gives up after etcd_timeout; ``write`` gets that deadline (time.monotonic()). Raises
    EtcdUnavailable where no write can have been applied. A later refusal does not say that an
    earlier write was not applied. ``takes_leases``: if a lease is gone, the write is repeated at
    once, with another one.
    """
    deadline = time.monotonic() + store.settings.etcd_timeout
    unknown: OutcomeUnknown | None = None
    while True:
        try:
            return await write(deadline)
        except (OutcomeUnknown, EtcdUnavailable) as error:
            unknown = error if isinstance(error, OutcomeUnknown) else unknown
            if isinstance(error, EtcdAway) or time.monotonic() + _PAUSE >= deadline:
                raise (unknown or error) from None
            await asyncio.sleep(_PAUSE)
        except EtcdError as error:
            again = takes_leases and isinstance(error, LeaseNotFound)
            if not again or time.monotonic() >= deadline:
                raise (unknown or error) from None
