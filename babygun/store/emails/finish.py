"""The end of tries: writes their results, or drops what another worker has taken over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct, field

from babygun.email import lifecycle
from babygun.email.lifecycle import QueueResult
from babygun.email.model import Email, QueueState, Recipient
from babygun.errors import EtcdError
from babygun.etcd import (
    Compare,
    KeyValue,
    Txn,
    TxnResult,
    absent,
    created_at,
    delete,
    get,
    modified_at,
    present,
)
from babygun.runtime.clock import utc_now
from babygun.store import codec
from babygun.store.emails.claims import Claim
from babygun.store.emails.write_loop import (
    MAY_BE_WRITTEN,
    Pause,
    existing_keys,
    is_refusal,
    write_change,
)
from babygun.store.keys import JobRef
from babygun.store.store import Store


class PendingResult(Struct, gc=False):
    """A result that waits to be written, with the claim that it came from.

    ``orphaned``: the owner key is gone, but nobody has touched the queue since. ``tried``: records
    with this result whose write has an unknown outcome.
    """

    claim: Claim
    result: QueueResult
    orphaned: bool = False
    tried: list[Email] = field(default_factory=list)


class Finished(Struct, frozen=True, gc=False):
    """``email``: the record as this finish left it. None: nothing was written."""

    written: tuple[JobRef, ...]
    dropped: tuple[JobRef, ...]
    email: Email | None
    email_revision: int


async def finish(
    store: Store,
    pending: Sequence[PendingResult],
    *,
    email: Email | None = None,
    email_revision: int = 0,
) -> Finished:
    """Writes the results of tries of one e-mail: one change of the record, one log entry.

    Goes on until etcd has decided. ``email`` and ``email_revision``: the newest record known, by
    default the first claim's.

    A result is dropped if another worker owns the job by now, or has written to its queue. If the
    owner key is gone and nobody has touched the queue, the result still counts: the lease ran out
    while etcd or this process stood still, and such a stall must not make duplicates.
    """
    rest = list(pending)
    written: list[JobRef] = []
    dropped: list[JobRef] = []
    record, revision = email, email_revision
    if record is None:
        record, revision = pending[0].claim.email, pending[0].claim.email_revision
    last: Email | None = None
    existing: set[bytes] | None = None
    pause = Pause()
    while rest:
        transition = lifecycle.finish(
            record,
            [h.result for h in rest],
            now=utc_now(),
            schedule=store.settings,
        )
        email_key = store.keys.email(record.id)
        try:
            result = await write_change(
                store,
                transition,
                [modified_at(email_key, revision), *_still_ours(store, rest)],
                existing=existing,
                more=[delete(store.keys.owner(h.claim.ref)) for h in rest],
            )
            if result.succeeded:
                written += [h.claim.ref for h in rest]
                return Finished(tuple(written), tuple(dropped), transition.email, result.revision)
            seen = await _seen(store, email_key, rest)
        except EtcdError as error:
            if isinstance(error, MAY_BE_WRITTEN):
                for h in rest:
                    h.tried.append(transition.email)
            await pause.after(error, "result", record.id)
            if is_refusal(error):
                existing = await existing_keys(store, record.id)
            continue
        records = seen.kvs(0)
        if not records:
            dropped += [h.claim.ref for h in rest]
            break
        record, revision = codec.decode_email(records[0].value), records[0].mod_revision
        still: list[PendingResult] = []
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


def _still_ours(store: Store, rest: Sequence[PendingResult]) -> list[Compare]:
    """The fencing: the owner key is still the one of the claim, or nobody has one."""
    compares: list[Compare] = []
    for h in rest:
        owner_key = store.keys.owner(h.claim.ref)
        if h.orphaned:
            compares += [absent(owner_key), present(store.keys.job(h.claim.ref))]
        else:
            compares.append(created_at(owner_key, h.claim.owner_revision))
    return compares


async def _seen(store: Store, email_key: bytes, rest: Sequence[PendingResult]) -> TxnResult:
    """What a refused finish found instead: the record, and each job's owner and job key."""
    reads = [get(email_key)]
    for h in rest:
        reads += [get(store.keys.owner(h.claim.ref)), get(store.keys.job(h.claim.ref))]
    return await store.client.txn(Txn([], reads))


def _fate(
    h: PendingResult, record: Email, owners: list[KeyValue], has_job: bool
) -> Literal["again", "written", "dropped"]:
    """What a refused finish means for one result. ``written``: by an earlier try of this finish."""
    queue = h.claim.ref.queue
    if owners and owners[0].create_revision == h.claim.owner_revision:
        h.orphaned = False
        return "again"
    now = _queue_part(record, queue)
    if any(now == _queue_part(tried, queue) for tried in h.tried):
        return "written"
    if not owners and has_job and now == _queue_part(h.claim.email, queue):
        h.orphaned = True
        return "again"
    return "dropped"


def _queue_part(email: Email, queue: str) -> tuple[QueueState, list[Recipient]]:
    return email.queues[queue], [r for r in email.recipients if r.queue == queue]
