"""A worker's claims: taking a job, giving it back, taking it over from a dead worker."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from babygun.email import lifecycle, wide
from babygun.email.model import Content, Email
from babygun.errors import MAY_BE_WRITTEN, EtcdError, OutcomeUnknown
from babygun.etcd import (
    Op,
    Txn,
    absent,
    created_at,
    delete,
    get,
    get_range,
    keep,
    modified_at,
    present,
    put,
)
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger
from babygun.store import codec
from babygun.store.emails import parts
from babygun.store.emails.lost_parts import end_lost_part
from babygun.store.emails.write_loop import Pause, write_change
from babygun.store.keys import JobRef, range_end
from babygun.store.records import Owner
from babygun.store.store import Store

log = get_logger("store")


class Claim(Struct, frozen=True, gc=False):
    """One job that this worker owns now.

    ``email_revision``: the record's mod revision. ``content``: None if it is gone or unreadable.
    ``owner_revision``: the owner key's create revision, which is the fencing token.
    """

    ref: JobRef
    email: Email
    email_revision: int
    content: Content | None
    owner_revision: int
    claimed_at: datetime


async def claim(
    store: Store,
    ref: JobRef,
    *,
    worker_id: str,
    lease_id: int,
    size: int = 0,
    has_part: bool = False,
) -> Claim | None:
    """Takes a ready job. None: another worker has it, or it is gone.

    ``size``: the job's, 0 if it is not known. ``has_part``: whether it says that its e-mail is
    wide. This worker may own the job already, by a claim whose answer was lost. That counts as
    claimed, since a worker makes one try at a job at a time.

    Raises LeaseNotFound if the worker's own lease is gone. Raises EtcdUnavailable or OutcomeUnknown
    if etcd does not answer. Such a claim may take effect later; the worker then releases the job.
    """
    now = utc_now()
    owner_key = store.keys.owner(ref)
    reads = [get(store.keys.email(ref.email_id)), _get_content(store, ref.email_id, size)]
    if has_part:
        reads.append(get(store.keys.part(ref)))
    txn = Txn(
        [present(store.keys.job(ref)), absent(owner_key)],
        [put(owner_key, codec.encode_state(Owner(worker_id, now)), lease_id), *reads],
    )
    try:
        result = await store.batcher.submit(txn, response_bytes=size)
    except OutcomeUnknown:
        result = await store.batcher.submit(txn, response_bytes=size)
    revision = result.revision
    if not result.succeeded:
        owners = (await store.batcher.submit(Txn([], [get(owner_key)]))).kvs(0)
        if not owners or codec.decode_owner(owners[0].value).worker_id != worker_id:
            return None
        revision = owners[0].create_revision  # of a claim of ours whose answer was lost
        result = await store.client.txn(Txn([], [get(owner_key), *reads]))
    # Both transactions have the owner key first, then the reads: record, content, part.
    records = result.kvs(1)
    found = result.kvs(3) if has_part else []
    if not records:
        log.error("orphan job removed", email_id=ref.email_id, queue=ref.queue)
        await store.batcher.submit(
            Txn([created_at(owner_key, revision)], [delete(store.keys.job(ref)), delete(owner_key)])
        )
        return None
    if has_part and not found:
        await end_lost_part(store, ref, worker_id=worker_id, owner_revision=revision)
        return None
    try:
        email = codec.decode_email(records[0].value)
        if email.wide is not None and has_part:
            email = wide.with_parts(email, parts.decoded(store, found))
    except ValueError as error:
        log.error("record unreadable", email_id=ref.email_id, error=str(error))
        await release(store, ref, revision)
        return None
    if email.wide is not None and not has_part:  # the job is ours already: this reads it again
        return await claim(
            store, ref, worker_id=worker_id, lease_id=lease_id, size=size, has_part=True
        )
    content = _content(email, result.values(2))
    return Claim(ref, email, records[0].mod_revision, content, revision, now)


def _get_content(store: Store, email_id: str, size: int) -> Op:
    """Reads all chunks. Most contents are one chunk, and to read a single key costs less."""
    if 0 < size <= codec.CHUNK_BYTES:
        return get(store.keys.chunk(email_id, 0))
    contents = store.keys.content(email_id)
    return get_range(contents, range_end(contents))


def _content(email: Email, chunks: list[bytes]) -> Content | None:
    if len(chunks) != email.chunks:
        return None
    try:
        return codec.decode_content(b"".join(chunks))
    except ValueError as error:
        log.error("content unreadable", email_id=email.id, error=str(error))
        return None


async def release(store: Store, ref: JobRef, owner_revision: int) -> bool:
    """Gives a job back unsent. False: it was not this worker's any more.

    It writes the job key again without a change, so that the watches of other workers see it.
    """
    owner_key, job_key = store.keys.owner(ref), store.keys.job(ref)
    result = await store.batcher.submit(
        Txn(
            [created_at(owner_key, owner_revision), present(job_key)],
            [keep(job_key, 0), delete(owner_key)],
        )
    )
    return result.succeeded


async def reclaim(
    store: Store, claimed: Claim, *, worker_id: str, previous_worker_id: str
) -> Claim | None:
    """Logs that a claimed job was taken over from a dead worker. Goes on until etcd has decided.

    Returns the claim with the new record. None: the job was lost in the meantime.
    """
    ref, email, revision = claimed.ref, claimed.email, claimed.email_revision
    email_key, owner_key = store.keys.email(ref.email_id), store.keys.owner(ref)
    part_reads = [get(store.keys.part(ref))] if email.wide else []
    pause = Pause()
    tried: list[Email] = []  # records whose write has an unknown outcome
    while True:
        transition = lifecycle.reclaim(
            email,
            ref.queue,
            worker_id=worker_id,
            previous_worker_id=previous_worker_id,
            now=utc_now(),
        )
        try:
            result = await write_change(
                store,
                transition,
                [modified_at(email_key, revision), created_at(owner_key, claimed.owner_revision)],
                otherwise=[get(email_key), get(owner_key), *part_reads],
            )
        except EtcdError as error:
            if isinstance(error, MAY_BE_WRITTEN):
                tried.append(wide.unlogged(transition.email))
            await pause.after(error, "reclaim", ref.email_id)
            continue
        if result.succeeded:
            return replace(claimed, email=transition.email, email_revision=result.revision)
        records, owners = result.kvs(0), result.kvs(1)
        if not records or not owners or owners[0].create_revision != claimed.owner_revision:
            return None
        email, revision = codec.decode_email(records[0].value), records[0].mod_revision
        if part_reads:
            email = wide.with_parts(email, parts.decoded(store, result.kvs(2)))
        if wide.unlogged(email) in tried:
            return replace(claimed, email=email, email_revision=revision)
