"""What a transition writes, as etcd operations. Keys and leases in, operations out; no I/O.

The record of a final e-mail, its log and its mark of a failure hang on a lease, and go when the
lease does. Its content hangs on none: to hang it there, etcd would write all of it again. An end
mark says since when the e-mail is final. By that mark a worker deletes the content later
(:mod:`babygun.store.upkeep.ending`). An e-mail that is not final has neither lease nor mark.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from babygun.email import lifecycle, wide
from babygun.email.model import Email, Part
from babygun.email.transition import Transition
from babygun.etcd import Op, delete, delete_range, keep, put
from babygun.store import codec
from babygun.store.keys import EndKind, JobRef, Keys, range_end

# An e-mail's log keeps the first entry and the newest 31. That bounds the operations of the
# transaction that makes the e-mail final.
LOG_ENTRIES = 32
# Bytes of parts that one transaction writes; etcd takes 1.5 MiB. A retry may write 1,000 parts. If
# they are too large, their logs are shortened to fewer entries.
_MOST_BYTES = 1 << 20
_SHORTER = (LOG_ENTRIES, 8, 2, 1)


class Kept(NamedTuple):
    """How a final e-mail is kept. ``lease``: of its record and log; 0 if it is not final.

    ``content``: False: the content is deleted at once, or is gone already. ``queues``: of a wide
    e-mail, all that have a part.
    """

    lease: int = 0
    content: bool = True
    queues: Collection[str] = ()


def acceptance(keys: Keys, transition: Transition, lease: int = 0) -> list[Op]:
    """The writes of a new e-mail, all but its content.

    ``lease``: of its record, if all of its recipients are suppressed.
    """
    email = transition.email
    ops = _record(keys, transition, lease)
    if email.final:
        ops.append(put(end_mark_of(keys, email), b"%d" % email.size))
        ops.append(put(keys.failed(email.id), b"", lease))
    return ops


def content(keys: Keys, email: Email, first_chunk: bytes | None) -> list[Op]:
    """The writes of a new e-mail's content. Its later chunks are there, on a lease of the upload.

    ``first_chunk``: None: it is there too.
    """
    ops = [] if first_chunk is None else [put(keys.chunk(email.id, 0), first_chunk)]
    there = range(first_chunk is not None, email.chunks)
    return ops + [keep(keys.chunk(email.id, number), 0) for number in there]


def change(
    keys: Keys,
    transition: Transition,
    *,
    before: Email | None,
    kept: Kept,
    existing: Collection[bytes] | None,
) -> list[Op]:
    """The writes of a change of a record.

    ``before``: for a change by others than the owner, the record that it changes. Queues of it may
    have waited, or the e-mail may have been final. ``existing``: the keys of its log and parts that
    exist, if some are missing. The others are left out: etcd refuses to put a missing key on a
    lease.
    """
    email = transition.email
    ops = _record(keys, transition, kept.lease)
    if email.wide is None and (dropped := email.log_seq - LOG_ENTRIES + 1) >= 1:
        ops.append(delete(keys.log_entry(email.id, dropped)))
    for queue in transition.touched:
        ref = JobRef(email.id, queue)
        if queue not in transition.ready:
            ops.append(delete(keys.job(ref)))
        if before is not None and (due := before.queues[queue].not_before):
            ops.append(delete(keys.not_before(due, ref)))
    was_final = before is not None and before.final
    if email.final or was_final:
        hung = _unwritten(keys, transition, kept)
        ops += [keep(key, kept.lease) for key in hung if existing is None or key in existing]
    if before is not None and was_final:
        ops.append(delete(end_mark_of(keys, before)))
    if email.final and kept.content:
        ops.append(put(end_mark_of(keys, email), b"%d" % email.size))
    elif email.final:
        content = keys.content(email.id)
        ops.append(delete_range(content, range_end(content)))
    if email.status == "failed":
        ops.append(put(keys.failed(email.id), b"", kept.lease))
    elif was_final:
        ops.append(delete(keys.failed(email.id)))
    return ops


def size(ops: Sequence[Op]) -> int:
    """Bytes on the wire."""
    return sum(len(op.encoded) for op in ops)


def _unwritten(keys: Keys, transition: Transition, kept: Kept) -> list[bytes]:
    """The keys of log entries and parts that the transition does not write."""
    email = transition.email
    if email.wide is not None:
        queues = set(kept.queues).union(email.queues) - transition.changed
        return [keys.part(JobRef(email.id, queue)) for queue in sorted(queues)]
    new = {entry.seq for entry in transition.keyed}
    return [keys.log_entry(email.id, n) for n in log_numbers(email) if n not in new]


def log_numbers(email: Email) -> range:
    """The numbers of the log entries that have keys. The log of a wide e-mail is in its parts."""
    if email.wide is not None:
        return range(0)
    oldest = max(email.first_log_key, email.log_seq - LOG_ENTRIES + 2)
    return range(oldest, email.log_seq + 1)


def end_mark_of(keys: Keys, email: Email) -> bytes:
    """The end mark of a final e-mail: its record has not changed since it became final."""
    kind: EndKind = "delivered" if email.status == "complete" else "undelivered"
    return keys.end_mark(kind, email.updated_at, email.id)


def _record(keys: Keys, transition: Transition, lease: int) -> list[Op]:
    """The record, its new log keys, and the jobs of queues that are ready or wait."""
    email = transition.email
    if email.wide is not None:
        return _wide_record(keys, transition, lease)
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


def _wide_record(keys: Keys, transition: Transition, lease: int) -> list[Op]:
    """The same of a wide e-mail: the record, and the parts of the queues that change."""
    email = transition.email
    ops = [put(keys.email(email.id), codec.encode_state(wide.record_of(email)), lease)]
    parts = wide.parts_of(email, transition.changed)
    for entries in _SHORTER:
        written = [
            _part(keys, email.id, queue, part, entries, lease) for queue, part in parts.items()
        ]
        if size(written) <= _MOST_BYTES:
            break
    ops += written
    for queue in transition.ready:
        ops.append(put(keys.job(JobRef(email.id, queue)), _wide_job(email, queue, parts[queue])))
    for queue, due in transition.waiting:
        job = _wide_job(email, queue, parts[queue])
        ops.append(put(keys.not_before(due, JobRef(email.id, queue)), job))
    return ops


def _part(keys: Keys, email_id: str, queue: str, part: Part, entries: int, lease: int) -> Op:
    part = replace(part, log=wide.shortened(part.log, entries))
    return put(keys.part(JobRef(email_id, queue)), codec.encode_state(part), lease)


def _wide_job(email: Email, queue: str, part: Part) -> bytes:
    still_open = sum(not recipient.final for recipient in part.recipients)
    return codec.encode_job(lifecycle.job_of(email, queue, still_open))
