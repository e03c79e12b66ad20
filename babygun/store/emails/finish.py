"""The end of tries: writes their results, or drops what another worker has taken over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct, field
from msgspec.structs import replace

from babygun.email import tries, wide
from babygun.email.model import Email, Part, QueueState, Recipient
from babygun.email.tries import QueueResult
from babygun.errors import MAY_BE_WRITTEN, EtcdError
from babygun.etcd import (
    Compare,
    KeyValue,
    Op,
    TxnResult,
    absent,
    created_at,
    delete,
    get,
    modified_at,
    modified_before,
    present,
)
from babygun.store import codec
from babygun.store.emails import parts
from babygun.store.emails.claims import Claim
from babygun.store.emails.write_loop import (
    Pause,
    existing_keys,
    is_refusal,
    write_change,
)
from babygun.store.keys import JobRef
from babygun.store.store import Store
from babygun.store.suppressions import bounces


class PendingResult(Struct, gc=False):
    """A result that waits to be written, with its claim.

    ``orphaned``: the owner key is gone, but nobody has touched the queue since. ``tried``: records
    that hold this result, and whose write has an unknown outcome.
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
    record, revision = _known(email, email_revision, pending)
    found_written: Email | None = None
    existing: set[bytes] | None = None  # after a refusal: its keys that exist
    read_at = 0  # after a refusal: the revision of what is known of the parts
    pause = Pause()
    while rest:
        transition = tries.finish(
            record,
            [one.result for one in rest],
            now=await store.clock.now(),
            schedule=store.routes.schedule,
            suppress=store.settings.suppress_hard_bounces,
        )
        email_key = store.keys.email(record.id)
        owner_keys = [store.keys.owner(one.claim.ref) for one in rest]
        try:
            result = await write_change(
                store,
                transition,
                [
                    modified_at(email_key, revision),
                    *_still_ours(store, rest, owner_keys),
                    *_parts_unchanged(store, rest, read_at),
                ],
                existing=existing,
                more=[*map(delete, owner_keys), *_freed(store, record, rest)],
            )
            if result.succeeded:
                written += [one.claim.ref for one in rest]
                return Finished(tuple(written), tuple(dropped), transition.email, result.revision)
            current = await _read_current(store, email_key, rest)
        except EtcdError as error:
            if isinstance(error, MAY_BE_WRITTEN):
                for one in rest:
                    one.tried.append(transition.email)
            await pause.after(error, "result", record.id)
            if is_refusal(error):
                existing = await existing_keys(store, record.id)
            continue
        records = current.kvs(0)
        if not records:
            dropped += [one.claim.ref for one in rest]
            break
        record, revision = _record_read(store, current, len(rest)), records[0].mod_revision
        read_at = current.revision
        still: list[PendingResult] = []
        for index, one in enumerate(rest):
            match _fate(one, record, current.kvs(1 + 2 * index), bool(current.kvs(2 + 2 * index))):
                case "again":
                    still.append(one)
                case "written":
                    written.append(one.claim.ref)
                    found_written = record
                case "dropped":
                    dropped.append(one.claim.ref)
        rest = still
    return Finished(tuple(written), tuple(dropped), found_written, revision)


def _freed(store: Store, email: Email, rest: Sequence[PendingResult]) -> list[Op]:
    """Takes off the bounces of addresses that took an e-mail all the same, as they were then."""
    if not email.ignore_suppressions:
        return []
    return [
        op
        for one in rest
        for op in bounces.free(
            store.keys,
            email.client_id,
            tries.delivered_to(email, one.result),
            one.claim.owner_revision,
        )
    ]


def _still_ours(
    store: Store, rest: Sequence[PendingResult], owner_keys: Sequence[bytes]
) -> list[Compare]:
    """The compares that fence: each owner key is still the claim's, or the job has no owner."""
    compares: list[Compare] = []
    for one, owner_key in zip(rest, owner_keys, strict=True):
        if one.orphaned:
            compares += [absent(owner_key), present(store.keys.job(one.claim.ref))]
        else:
            compares.append(created_at(owner_key, one.claim.owner_revision))
    return compares


def _parts_unchanged(store: Store, rest: Sequence[PendingResult], read_at: int) -> list[Compare]:
    """Of a wide e-mail: nobody has written the parts since the claims, or since ``read_at``.

    The owner keys do not say that: what comes back, and a client's change, are written without
    them. A part is only written together with its record, so the claim's record says when.
    """
    return [
        modified_before(store.keys.part(one.claim.ref), (read_at or one.claim.email_revision) + 1)
        for one in rest
        if one.claim.email.wide is not None
    ]


async def _read_current(store: Store, email_key: bytes, rest: Sequence[PendingResult]) -> TxnResult:
    """What a refused finish found instead: the record, and each job's owner and job key."""
    reads = [get(email_key)]
    for one in rest:
        reads += [get(store.keys.owner(one.claim.ref)), get(store.keys.job(one.claim.ref))]
    if rest[0].claim.email.wide is not None:
        reads += [get(store.keys.part(one.claim.ref)) for one in rest]
    return await store.client.read(reads)


def _known(
    record: Email | None, revision: int, pending: Sequence[PendingResult]
) -> tuple[Email, int]:
    """The record that a finish begins with, by default the first claim's, and its revision.

    Of a wide e-mail: the newest one, with the parts of the results as they were at their claims. If
    somebody has written one since, the write is refused (:func:`_parts_unchanged`).
    """
    if record is None:
        record, revision = pending[0].claim.email, pending[0].claim.email_revision
    if record.wide is None:
        return record, revision
    joined: dict[str, Part] = {}
    for claim in (one.claim for one in pending):
        joined |= wide.parts_of(claim.email, (claim.ref.queue,))
        if claim.email_revision > revision:
            record, revision = claim.email, claim.email_revision
    return wide.with_parts(wide.record_of(record), joined), revision


def _record_read(store: Store, current: TxnResult, results: int) -> Email:
    """The record that :func:`_read_current` has read; of a wide e-mail, with these parts."""
    record = codec.decode_email(current.kvs(0)[0].value)
    if record.wide is None:
        return record
    first = 1 + 2 * results
    kvs = [kv for index in range(first, first + results) for kv in current.kvs(index)]
    return wide.with_parts(record, parts.decoded(store, kvs))


def _fate(
    one: PendingResult, record: Email, owners: list[KeyValue], has_job: bool
) -> Literal["again", "written", "dropped"]:
    """What becomes of one result after a refused finish.

    ``again``: it is still to be written. ``written``: an earlier write of this finish took effect.
    ``dropped``: another worker has the job, or has written to the queue.
    """
    queue = one.claim.ref.queue
    if owners and owners[0].create_revision == one.claim.owner_revision:
        one.orphaned = False
        return "again"
    now = _queue_part(record, queue)
    if any(_same(now, _queue_part(tried, queue)) for tried in one.tried):
        return "written"
    if not owners and has_job and _same(_unheld(now), _unheld(_queue_part(one.claim.email, queue))):
        one.orphaned = True
        return "again"
    return "dropped"


_QueuePart = tuple[QueueState, list[Recipient]]


def _queue_part(email: Email, queue: str) -> _QueuePart:
    return email.queues[queue], [r for r in email.recipients if r.queue == queue]


def _same(now: _QueuePart, then: _QueuePart) -> bool:
    """Whether nobody has sent a queue since, stopped it, held it or taken it over.

    What comes back after a delivery changes nothing of that.
    """
    return now[0] == then[0] and all(map(_same_recipient, now[1], then[1]))


def _same_recipient(now: Recipient, then: Recipient) -> bool:
    if now.erased_at:  # nobody sends to it any more
        return True
    if not now.final or not then.final:
        return (now.final, now.tries) == (then.final, then.tries)
    if now.late and not then.late:
        return (now.tries, now.retried, "delivered") == (then.tries, then.retried, then.status)
    return replace(now, complained_at=None) == replace(then, complained_at=None)


def _unheld(part: _QueuePart) -> _QueuePart:
    """Without the hold, which also takes the not-before time that has passed.

    A job that was put back since the session was refused is untouched. What its try found out
    about the way does not count either.
    """
    return replace(part[0], held=None, not_before=None, site="", tls=None), part[1]
