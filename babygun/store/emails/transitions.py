"""The transitions of an email's life, each one etcd transaction under compares that make it safe to repeat.

Authoritative is what etcd holds: the record with its mod revision, the owner key with its create revision (the fencing
token). A decision is made by :mod:`babygun.email.lifecycle` on the record as read, and written under the compare that the record
has not moved; where it has, the transaction changes nothing, hands the new record back, and the decision is made again.

A write whose answer did not come is settled by sending it again: under its compares it can take effect once only, and a
refusal tells whether the first one did.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec import Struct, field
from msgspec.structs import replace

from babygun.email import lifecycle
from babygun.email.lifecycle import QueueResult, Transition
from babygun.email.model import Content, Email, QueueState, Recipient
from babygun.errors import (
    Conflict,
    EtcdError,
    EtcdUnavailable,
    LeaseNotFound,
    NotFound,
    OutcomeUnknown,
    OutOfSpace,
    PermissionDenied,
)
from babygun.etcd import (
    KeyValue,
    Op,
    Txn,
    TxnResult,
    absent,
    created_at,
    delete,
    delete_range,
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
from babygun.store.keys import LOG_ENTRIES, JobRef, Keys, kept_log_seqs, range_end
from babygun.store.records import Owner
from babygun.store.store import Store
from babygun.store.upkeep.retention import KEY_BYTES

log = get_logger("store")


class Claim(Struct, frozen=True, gc=False):
    """One job that this worker owns now."""

    ref: JobRef
    email: Email
    email_revision: int  # the record's mod revision
    content: Content | None  # None where it is gone or can't be read
    owner_revision: int  # the owner key's create revision: the fencing token
    claimed_at: datetime


class Held(Struct, gc=False):
    """A result that waits to be written, with the claim that it came from."""

    claim: Claim
    result: QueueResult
    orphaned: bool = False  # the owner key is gone, but nobody has touched the queue since
    tried: list[Email] = field(default_factory=list)  # records whose write had an unknown outcome


class Finished(Struct, frozen=True, gc=False):
    """``email`` and ``email_revision``: the record as this finish left it (None where nothing was written)."""

    written: tuple[JobRef, ...]
    dropped: tuple[JobRef, ...]
    email: Email | None
    email_revision: int


async def claim(
    store: Store, ref: JobRef, *, worker_id: str, lease_id: int, attempt: str, size: int = 0
) -> Claim | None:
    """Takes ownership of a ready job; None where another has it, or it is gone. ``size``: the job's; 0: not known.

    What this worker owns already, by a claim whose answer was lost, counts as claimed: a worker makes one attempt at a job at a time.
    Raises LeaseNotFound where the worker's own lease is gone, EtcdUnavailable or OutcomeUnknown where etcd did not answer:
    then the claim may take effect after all, which the worker's reconcile notices and releases.
    """
    now = utc_now()
    owner_key = store.keys.owner(ref)
    reads = [get(store.keys.email(ref.email_id)), _get_content(store, ref.email_id, size)]
    txn = Txn(
        [present(store.keys.job(ref)), absent(owner_key)],
        [put(owner_key, codec.encode_state(Owner(worker_id, attempt, now)), lease_id), *reads],
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
        revision = owners[0].create_revision  # by a claim of ours whose answer was lost
        result = await store.client.txn(Txn([], [get(owner_key), *reads]))
    records = result.kvs(1)
    if not records:
        log.error("orphan job removed", email_id=ref.email_id, queue=ref.queue)
        await store.batcher.submit(
            Txn([created_at(owner_key, revision)], [delete(store.keys.job(ref)), delete(owner_key)])
        )
        return None
    try:
        email = codec.decode_email(records[0].value)
    except ValueError as error:
        log.error(
            "record unreadable",
            email_id=ref.email_id,
            queue=ref.queue,
            error=str(error),
        )
        await release(store, ref, revision)
        return None
    return Claim(
        ref, email, records[0].mod_revision, _content(email, result.values(2)), revision, now
    )


def _get_content(store: Store, email_id: str, size: int) -> Op:
    """Reads all chunks. Most contents are one: to read a single key costs less, here and in etcd."""
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


async def finish(
    store: Store, held: Sequence[Held], *, email: Email | None = None, email_revision: int = 0
) -> Finished:
    """Writes the results of tries of one email: one record change, one log entry. Goes on until etcd has decided.

    ``email`` and ``email_revision``: the newest record known, by default the first claim's. A result is dropped where
    another worker owns the job by now, or has written to its queue. One whose owner key is gone (the lease ran out while
    etcd or this process stood still) still counts where nobody has touched the queue since: a stall makes no duplicates.
    """
    rest = list(held)
    written: list[JobRef] = []
    dropped: list[JobRef] = []
    record, revision = (
        (email, email_revision)
        if email is not None
        else (held[0].claim.email, held[0].claim.email_revision)
    )
    last: Email | None = None
    pause = _Pause()
    kept: set[bytes] | None = (
        None  # which of the email's keys are there, where one turned out to be missing
    )
    while rest:
        transition = lifecycle.finish(
            record,
            [h.result for h in rest],
            now=utc_now(),
            retry_intervals=store.settings.retry_intervals,
        )
        lease = content_lease = 0
        try:
            if transition.ended:
                lease, content_lease = await _retention(store, transition.email)
            email_key = store.keys.email(record.id)
            compares = [modified_at(email_key, revision)]
            ops = _transition_ops(store, transition, None, lease, content_lease, kept)
            for h in rest:
                owner_key = store.keys.owner(h.claim.ref)
                compares += (
                    [absent(owner_key), present(store.keys.job(h.claim.ref))]
                    if h.orphaned
                    else [created_at(owner_key, h.claim.owner_revision)]
                )
                ops.append(delete(owner_key))
            result = await store.batcher.submit(Txn(compares, ops))
            if not result.succeeded:
                seen = await _seen(store, email_key, rest)
        except LeaseNotFound:
            store.record_leases.forget(lease)
            store.content_leases.forget(content_lease)
            continue
        except EtcdError as error:
            if isinstance(
                error, OutcomeUnknown | OutOfSpace
            ):  # etcd may notice that it is full after it has written
                for h in rest:
                    h.tried.append(transition.email)
            await pause.after(error, "result waits for etcd", email_id=record.id)
            if not isinstance(
                error, EtcdUnavailable | OutcomeUnknown | OutOfSpace | PermissionDenied
            ):
                kept = await _kept_keys(store, record.id)
            continue
        if result.succeeded:
            written += [h.claim.ref for h in rest]
            return Finished(tuple(written), tuple(dropped), transition.email, result.revision)
        records = seen.kvs(0)
        if not records:
            dropped += [h.claim.ref for h in rest]
            break
        record, revision = codec.decode_email(records[0].value), records[0].mod_revision
        still: list[Held] = []
        for index, h in enumerate(rest):
            match _fate(h, record, seen.kvs(1 + 2 * index), bool(seen.kvs(2 + 2 * index))):
                case "again":
                    still.append(h)
                case "written":
                    written.append(h.claim.ref)
                    last = record
                case "dropped":
                    dropped.append(h.claim.ref)
        rest = still
    return Finished(tuple(written), tuple(dropped), last, revision)


async def _seen(store: Store, email_key: bytes, rest: Sequence[Held]) -> TxnResult:
    """What a refused finish found instead: the record, and each job's owner and job key, of one moment."""
    keys = store.keys
    return await store.client.txn(
        Txn(
            [],
            [
                get(email_key),
                *(
                    get(key)
                    for h in rest
                    for key in (keys.owner(h.claim.ref), keys.job(h.claim.ref))
                ),
            ],
        )
    )


async def _kept_keys(store: Store, email_id: str) -> set[bytes] | None:
    """The log and content keys that are there: etcd refuses to hang a missing one on a lease. None where it doesn't answer."""
    found: set[bytes] = set()
    try:
        for prefix in (store.keys.log(email_id), store.keys.content(email_id)):
            found |= {
                kv.key
                for kv in (await store.client.range(prefix, range_end(prefix), keys_only=True)).kvs
            }
    except EtcdError:
        return None
    return found


def _fate(h: Held, record: Email, owners: list[KeyValue], job: bool) -> str:
    """What a refused finish means for one of its results: ``again``, ``written`` (by an earlier try of ours) or ``dropped``."""
    queue = h.claim.ref.queue
    if owners and owners[0].create_revision == h.claim.owner_revision:
        h.orphaned = False
        return "again"
    now = _queue_part(record, queue)
    if any(now == _queue_part(tried, queue) for tried in h.tried):
        return "written"
    if not owners and job and now == _queue_part(h.claim.email, queue):
        h.orphaned = True
        return "again"
    return "dropped"


def _queue_part(email: Email, queue: str) -> tuple[QueueState, list[Recipient]]:
    return email.queues[queue], [r for r in email.recipients if r.queue == queue]


async def reclaim(
    store: Store, claimed: Claim, *, worker_id: str, previous_worker_id: str
) -> Claim | None:
    """Logs that the job was taken over from a dead worker. Returns the claim with the new record; None where it was lost."""
    ref, email, revision = claimed.ref, claimed.email, claimed.email_revision
    pause = _Pause()
    tried: list[Email] = []
    while True:
        transition = lifecycle.reclaim(
            email,
            ref.queue,
            worker_id=worker_id,
            previous_worker_id=previous_worker_id,
            now=utc_now(),
        )
        email_key, owner_key = store.keys.email(ref.email_id), store.keys.owner(ref)
        compares = [modified_at(email_key, revision), created_at(owner_key, claimed.owner_revision)]
        try:
            result = await store.batcher.submit(
                Txn(
                    compares,
                    _transition_ops(store, transition, None, 0),
                    [get(email_key), get(owner_key)],
                )
            )
        except EtcdError as error:
            if isinstance(error, OutcomeUnknown | OutOfSpace):
                tried.append(transition.email)
            await pause.after(error, "reclaim waits for etcd", email_id=ref.email_id)
            continue
        if result.succeeded:
            return replace(claimed, email=transition.email, email_revision=result.revision)
        records, owners = result.kvs(0), result.kvs(1)
        if not records or not owners or owners[0].create_revision != claimed.owner_revision:
            return None
        email, revision = codec.decode_email(records[0].value), records[0].mod_revision
        if email in tried:
            return replace(claimed, email=email, email_revision=revision)


async def release(store: Store, ref: JobRef, owner_revision: int) -> bool:
    """Gives a job back unsent. Touches the job key, so that other workers' watches tell them. False: it was not ours."""
    owner_key, job_key = store.keys.owner(ref), store.keys.job(ref)
    result = await store.batcher.submit(
        Txn(
            [created_at(owner_key, owner_revision), present(job_key)],
            [keep(job_key, 0), delete(owner_key)],
        )
    )
    return result.succeeded


async def make_due(store: Store, key: bytes, value: bytes) -> bool:
    """Turns a not-before key whose time has come into a job. False: another worker did, or it was cancelled."""
    _, ref = store.keys.parse_not_before(key)
    result = await store.batcher.submit(
        Txn([present(key)], [put(store.keys.job(ref), value), delete(key)])
    )
    return result.succeeded


async def cancel(
    store: Store, email_id: str, *, client_id: str | None = None, request_id: str | None = None
) -> Email:
    """Stops what is not being sent; see lifecycle.cancel. Raises NotFound, Conflict."""

    def decide(email: Email, sending: set[str]) -> Transition:
        return lifecycle.cancel(
            email, sending=sending, now=utc_now(), client_id=client_id, request_id=request_id
        )

    return await _by_person(store, email_id, decide)


async def retry(
    store: Store, email_id: str, *, client_id: str | None = None, request_id: str | None = None
) -> Email:
    """Has the recipients not reached tried again; see lifecycle.retry. Raises NotFound, Conflict."""

    def decide(email: Email, sending: set[str]) -> Transition:
        return lifecycle.retry(email, now=utc_now(), client_id=client_id, request_id=request_id)

    return await _by_person(store, email_id, decide)


async def _by_person(
    store: Store, email_id: str, decide: Callable[[Email, set[str]], Transition]
) -> Email:
    """Reads, decides, writes, until the record has stood still in between."""
    email_key, owners = store.keys.email(email_id), store.keys.email_owners(email_id)
    first_chunk = store.keys.chunk(email_id, 0)
    tried: list[Email] = []
    kept: set[bytes] | None = None  # as in finish()
    deadline = time.monotonic() + store.settings.etcd_timeout
    while True:
        seen = await store.client.txn(
            Txn(
                [],
                [
                    get(email_key),
                    get_range(owners, range_end(owners)),
                    get_range(first_chunk, first_chunk + b"\0", keys_only=True),
                ],
            )
        )
        records = seen.kvs(0)
        if not records:
            raise NotFound("there is no such e-mail")
        email, revision = codec.decode_email(records[0].value), records[0].mod_revision
        if email in tried:
            return email
        transition = decide(email, {store.keys.parse_owner(kv.key).queue for kv in seen.kvs(1)})
        if transition.ready and not seen.kvs(2):
            raise Conflict("the e-mail's content is not kept any more")
        lease = content_lease = 0
        try:
            if transition.ended:
                lease, content_lease = await _retention(store, transition.email)
            compares = [
                modified_at(email_key, revision),
                *(
                    absent(store.keys.owner(JobRef(email_id, queue)))
                    for queue in transition.touched
                ),
            ]
            if transition.ready:
                compares.append(present(first_chunk))
            result = await store.batcher.submit(
                Txn(compares, _transition_ops(store, transition, email, lease, content_lease, kept))
            )
        except LeaseNotFound:
            store.record_leases.forget(lease)
            store.content_leases.forget(content_lease)
            continue
        except (OutcomeUnknown, OutOfSpace):  # etcd may notice that it is full after it has written
            tried.append(transition.email)
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
            continue
        except EtcdError as error:
            if kept is not None or isinstance(error, EtcdUnavailable | PermissionDenied):
                raise
            kept = await _kept_keys(store, email_id)
            if kept is None:
                raise
            continue
        if result.succeeded:
            return transition.email
        if time.monotonic() > deadline:
            raise Conflict("the e-mail is changing all the time; try again")


def record_ops(keys: Keys, transition: Transition, lease: int = 0) -> list[Op]:
    """What each transition writes: the record, its log entries, the jobs of queues that are ready, the not-before keys of those that wait."""
    email = transition.email
    ops = [put(keys.email(email.id), codec.encode_state(email), lease)]
    for written in (transition.untold, transition.entry):
        if written is not None:
            ops.append(
                put(keys.log_entry(email.id, written.seq), codec.encode_state(written), lease)
            )
    for queue in transition.ready:
        ops.append(
            put(keys.job(JobRef(email.id, queue)), codec.encode_job(lifecycle.job_of(email, queue)))
        )
    for queue, due in transition.waiting:
        ops.append(
            put(
                keys.not_before(due, JobRef(email.id, queue)),
                codec.encode_job(lifecycle.job_of(email, queue)),
            )
        )
    return ops


def _transition_ops(
    store: Store,
    transition: Transition,
    before: Email | None,
    lease: int,
    content_lease: int = 0,
    kept: set[bytes] | None = None,
) -> list[Op]:
    """The writes of a change of a record that is there. ``before``: the record that the decision was made on, where queues may have been
    waiting; ``lease``: the record's retention lease where the email ends (0 takes everything off its lease); ``kept``: the log
    and content keys that are there, where some are known to be missing."""
    keys, email, ended = store.keys, transition.email, transition.ended
    ops = record_ops(keys, transition, lease)
    if (oldest := email.log_seq - LOG_ENTRIES + 1) >= 1:
        ops.append(delete(keys.log_entry(email.id, oldest)))
    for queue in transition.touched:
        ref = JobRef(email.id, queue)
        if queue not in transition.ready:
            ops.append(delete(keys.job(ref)))
        due = before.queues[queue].not_before if before is not None else None
        if due:
            ops.append(delete(keys.not_before(due, ref)))
    reopened = before is not None and before.status != "incomplete"
    if ended or reopened:
        if email.log_seq > email.log_first and not transition.untold:
            earlier = [
                keys.log_entry(email.id, number)
                for number in kept_log_seqs(email.log_seq, email.log_first)[:-1]
            ]
            ops += [keep(key, lease) for key in earlier if kept is None or key in kept]
        chunks = [keys.chunk(email.id, number) for number in range(email.chunks)]
        if ended and email.status == "complete" and not content_lease:
            ops.append(delete_range(chunks[0], range_end(keys.content(email.id))))
        else:
            ops += [keep(key, content_lease) for key in chunks if kept is None or key in kept]
    if email.status == "failed":
        ops.append(put(keys.failed(email.id), b"", lease))
    elif reopened:
        ops.append(delete(keys.failed(email.id)))
    return ops


async def _retention(store: Store, email: Email) -> tuple[int, int]:
    """The leases for an ended email's record and content. What a person may want to have tried again keeps its content."""
    keys = (
        3 - email.log_first + min(email.log_seq, LOG_ENTRIES - 1)
    )  # the record, the mark of a failure, the log
    if email.status != "complete":
        lease = await store.record_leases.lease(keys + email.chunks, keys * KEY_BYTES + email.size)
        return lease, lease
    lease = await store.record_leases.lease(keys)
    return lease, await store.content_leases.lease(
        email.chunks, email.size
    ) if store.settings.contents_retention else 0


class _Pause:
    """A growing pause between tries of a write that has to be made, however long etcd is away."""

    _seconds = 0.05
    _logged = -60.0

    async def after(self, error: EtcdError, event: str, **fields: object) -> None:
        if (now := time.monotonic()) - self._logged >= 60:  # hundreds may wait at once
            self._logged = now
            log.warning(event, error=str(error), **fields)
        await asyncio.sleep(self._seconds)
        self._seconds = min(2.0, self._seconds * 2)
