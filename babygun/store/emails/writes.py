"""What a transition writes, as etcd operations. Keys and leases in, operations out; no I/O.

The record of a final e-mail, its log and its mark of a failure hang on a lease, and go when the
lease does. Its content hangs on none: to hang it there, etcd would write all of it again. An end
mark says since when the e-mail is final. By that mark a worker deletes the content later
(:mod:`babygun.store.upkeep.ending`). An e-mail that is not final has neither lease nor mark.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from babygun.email import lifecycle
from babygun.email.model import Email
from babygun.email.transition import Transition
from babygun.etcd import Op, delete, delete_range, keep, put
from babygun.store import codec
from babygun.store.keys import EndKind, JobRef, Keys, range_end

# An e-mail's log keeps the first entry and the newest 31. That bounds the operations of the
# transaction that makes the e-mail final.
LOG_ENTRIES = 32


class Kept(NamedTuple):
    """How a final e-mail is kept. ``lease``: of its record and log; 0 if it is not final.

    ``content``: False: the content of a complete e-mail is deleted at once.
    """

    lease: int = 0
    content: bool = True


def acceptance(keys: Keys, transition: Transition, first_chunk: bytes) -> list[Op]:
    """The writes of a new e-mail; its later chunks are there already, on a lease of the upload."""
    email = transition.email
    return [
        *_record(keys, transition, 0),
        put(keys.chunk(email.id, 0), first_chunk),
        *(keep(keys.chunk(email.id, number), 0) for number in range(1, email.chunks)),
    ]


def change(
    keys: Keys,
    transition: Transition,
    *,
    before: Email | None,
    kept: Kept,
    existing: Collection[bytes] | None,
) -> list[Op]:
    """The writes of a change of a record.

    ``before``: for a client's change, the record that it changes. Queues of it may have waited, or
    the e-mail may have been final. ``existing``: the e-mail's log keys that exist, if some are
    missing. The others are left out: etcd refuses to put a missing key on a lease.
    """
    email = transition.email
    ops = _record(keys, transition, kept.lease)
    if (dropped := email.log_seq - LOG_ENTRIES + 1) >= 1:
        ops.append(delete(keys.log_entry(email.id, dropped)))
    for queue in transition.touched:
        ref = JobRef(email.id, queue)
        if queue not in transition.ready:
            ops.append(delete(keys.job(ref)))
        if before is not None and (due := before.queues[queue].not_before):
            ops.append(delete(keys.not_before(due, ref)))
    reopened = before is not None and before.final
    if email.final or reopened:
        new = {entry.seq for entry in transition.keyed}
        hung = [keys.log_entry(email.id, n) for n in log_numbers(email) if n not in new]
        ops += [keep(key, kept.lease) for key in hung if existing is None or key in existing]
    if before is not None and reopened:
        ops.append(delete(_end_mark(keys, before)))
    if email.final and kept.content:
        ops.append(put(_end_mark(keys, email), b"%d" % email.size))
    elif email.final:
        content = keys.content(email.id)
        ops.append(delete_range(content, range_end(content)))
    if email.status == "failed":
        ops.append(put(keys.failed(email.id), b"", kept.lease))
    elif reopened:
        ops.append(delete(keys.failed(email.id)))
    return ops


def log_numbers(email: Email) -> range:
    """The numbers of the log entries that have keys."""
    oldest = max(email.first_log_key, email.log_seq - LOG_ENTRIES + 2)
    return range(oldest, email.log_seq + 1)


def _end_mark(keys: Keys, email: Email) -> bytes:
    """The end mark of a final e-mail: its record has not changed since it became final."""
    kind: EndKind = "delivered" if email.status == "complete" else "undelivered"
    return keys.end_mark(kind, email.updated_at, email.id)


def _record(keys: Keys, transition: Transition, lease: int) -> list[Op]:
    """The record, its new log keys, and the jobs of queues that are ready or wait."""
    email = transition.email
    ops = [put(keys.email(email.id), codec.encode_state(email), lease)]
    for entry in transition.keyed:
        ops.append(put(keys.log_entry(email.id, entry.seq), codec.encode_state(entry), lease))
    for queue in transition.ready:
        job = codec.encode_job(lifecycle.job_of(email, queue))
        ops.append(put(keys.job(JobRef(email.id, queue)), job))
    for queue, due in transition.waiting:
        job = codec.encode_job(lifecycle.job_of(email, queue))
        ops.append(put(keys.not_before(due, JobRef(email.id, queue)), job))
    return ops
