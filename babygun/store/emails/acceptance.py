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
from msgspec.structs import replace

from babygun.email import lifecycle, wide
from babygun.email.model import Content, Email
from babygun.email.transition import Transition
from babygun.errors import (
    EtcdAway,
    EtcdError,
    EtcdUnavailable,
    IdempotencyConflict,
    InvalidEmail,
    LeaseNotFound,
    OutcomeUnknown,
    OutOfSpace,
    Violation,
)
from babygun.etcd import NESTED, Compare, Op, Txn, TxnResult, absent, get, present, put
from babygun.runtime.logs import get_logger
from babygun.store import codec
from babygun.store.emails import writes
from babygun.store.records import IdempotencyRecord
from babygun.store.store import Store
from babygun.store.webhooks import outbox

log = get_logger("store")

T = TypeVar("T")

# The change that makes an e-mail final has operations per queue, log entry and chunk. With this
# limit, and that of queues (babygun.email.wide), it stays below etcd's 128 operations.
MAX_CHUNKS = 48
_MOST_BYTES = 1_200_000  # of the writes of one e-mail; etcd takes 1.5 MiB a request
_PAUSE = 0.05  # s, between two tries of a write


class NewEmail(Struct, frozen=True, gc=False):
    """An e-mail that is ready to be stored.

    ``content_bytes``: of the packed content. ``ops``: the writes that store it, the record first.
    ``later``: keys and values of the content's chunks beyond the first; they have to be there
    before.
    """

    id: str
    transition: Transition
    recipients: int
    content_bytes: int
    ops: list[Op]
    later: list[tuple[bytes, bytes]]

    @property
    def size(self) -> int:
        """Bytes of the writes, on the wire."""
        return writes.size(self.ops)


class Accepted(Struct, frozen=True, gc=False):
    """``repeated``: the Idempotency-Key was known, and ``email_id`` is the first request's."""

    email_id: str
    repeated: bool = False


def prepare(store: Store, email: Email, content: Content) -> NewEmail:
    """The writes that store a new e-mail. Raises InvalidEmail if it is too large to be stored."""
    packed = codec.encode_content(content)
    chunks = codec.chunked(packed)
    if len(chunks) > MAX_CHUNKS:
        most = MAX_CHUNKS * codec.CHUNK_BYTES
        detail = f"The e-mail takes {len(packed)} bytes; at most {most} can be stored."
        raise InvalidEmail([Violation("attachments", detail)], too_large=True)
    email = replace(email, size=len(packed), chunks=len(chunks))
    if len(email.queues) > wide.MOST_QUEUES:
        email = wide.begun(email)
    transition = lifecycle.accept(email)
    ops = writes.acceptance(store.keys, transition, chunks[0])
    at_once = 1
    if email.wide and writes.size(ops) > _MOST_BYTES:
        at_once = 0
        ops = writes.acceptance(store.keys, transition, None)
    later = [(store.keys.chunk(email.id, n), chunks[n]) for n in range(at_once, len(chunks))]
    return NewEmail(email.id, transition, len(email.recipients), len(packed), ops, later)


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
    if idempotency_key is None:
        await write(store, [new])
        return Accepted(new.id)
    key = store.keys.idempotency(client_id, idempotency_key)
    known = await write(
        store, [new], mark=(key, codec.encode_state(IdempotencyRecord(new.id, fingerprint)))
    )
    if known is None:
        return Accepted(new.id)
    first = codec.decode_idempotency(known)
    if first.email_id == new.id:
        return Accepted(new.id)  # an earlier write of this call was applied after all
    if first.fingerprint != fingerprint:
        raise IdempotencyConflict
    return Accepted(first.email_id, repeated=True)


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
    compares = [absent(first)]
    upload_lease = 0
    if later:
        compares += [present(key) for key, _ in later]
        upload_lease = await _upload(store, later)
    try:
        if mark is not None:
            return await _write_marked(store, first, compares, emails, mark)
        result = await _settle(store, partial(_submit, store, emails, compares))
    except (EtcdUnavailable, OutcomeUnknown):
        upload_lease = 0  # its end is no call's to wait for: it expires by itself
        raise
    except OutOfSpace:
        if await store.client.get(first) is None:
            raise
        return None  # etcd noticed that it is full only after it had written
    finally:
        if upload_lease:
            # The chunks of what was accepted are off this lease by now. Others go with it.
            await asyncio.shield(asyncio.ensure_future(_revoke(store, upload_lease)))
    if not result.succeeded and not await _is_stored(store, first):
        raise _expired()
    return None


async def _is_stored(store: Store, first: bytes) -> bool:
    """Whether a write was refused because an earlier write of this call was applied after all."""
    try:
        return await _settle(store, lambda _: store.client.get(first)) is not None
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
    idempotency_lease = 0

    async def submit(deadline: float) -> TxnResult:
        nonlocal idempotency_lease  # each time another one, if the last one is gone
        idempotency_lease = await store.idempotency_leases.lease(1)
        return await _submit(
            store,
            emails,
            [*compares, absent(mark[0])],
            deadline,
            more=(put(*mark, idempotency_lease),),
            otherwise=(get(first), get(mark[0])),
        )

    result = await _settle(
        store, submit, lambda: store.idempotency_leases.forget(idempotency_lease)
    )
    if result.succeeded:
        return None
    if known := result.kvs(1):
        return known[0].value
    if result.kvs(0):
        return None  # an earlier write of this call was applied after all
    raise _expired()


async def _submit(
    store: Store,
    emails: Sequence[NewEmail],
    compares: Sequence[Compare],
    deadline: float,
    *,
    more: Sequence[Op] = (),
    otherwise: Sequence[Op] = (),
) -> TxnResult:
    """Writes the e-mails and ``more``, together with the notices of their client's webhooks."""
    return await outbox.submit(
        store,
        [new.transition for new in emails],
        compares,
        [*(op for new in emails for op in new.ops), *more],
        otherwise,
        least_nested=NESTED,  # so that many transactions fit into one batch
        deadline=deadline,
    )


def _expired() -> OutcomeUnknown:
    return OutcomeUnknown(
        "the parts of a large e-mail expired before it was complete: the upload took too long"
    )


async def _upload(store: Store, chunks: list[tuple[bytes, bytes]]) -> int:
    """Writes the later chunks of a large content on a lease of some minutes.

    The acceptance takes them off that lease.
    """
    try:
        lease = await store.client.grant(int(store.settings.upload_lease))
    except OutcomeUnknown as error:
        raise EtcdUnavailable(str(error)) from None  # of the e-mail itself nothing is stored
    try:
        for key, chunk in chunks:  # one at a time: a large e-mail must not hold up small ones
            txn = Txn([], [put(key, chunk, lease)])
            await _settle(store, partial(_until, store, txn))
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


async def _until(store: Store, txn: Txn, deadline: float) -> TxnResult:
    return await store.batcher.submit(txn, deadline=deadline)


async def _settle(
    store: Store,
    write: Callable[[float], Awaitable[T]],
    lease_gone: Callable[[], None] | None = None,
) -> T:
    """Repeats a write that is safe to repeat, until etcd has answered.

    Gives up after etcd_timeout; ``write`` gets that deadline (time.monotonic()). Raises
    EtcdUnavailable where no write can have been applied. ``lease_gone``: called if the write's
    lease is gone, before the next try.
    """
    deadline = time.monotonic() + store.settings.etcd_timeout
    unknown: OutcomeUnknown | None = None
    while True:
        try:
            return await write(deadline)
        except LeaseNotFound:
            if lease_gone is None:
                raise
            lease_gone()
        except (OutcomeUnknown, EtcdUnavailable) as error:
            unknown = error if isinstance(error, OutcomeUnknown) else unknown
            if isinstance(error, EtcdAway) or time.monotonic() + _PAUSE >= deadline:
                # A later refusal does not say that an earlier write was not applied.
                raise (unknown or error) from None
            await asyncio.sleep(_PAUSE)
