"""All keys of one e-mail at one revision, and how a revision changes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from babygun.email import wide
from babygun.email.log import entries_in_record
from babygun.email.model import Email, LogEntry, Part
from babygun.store import codec
from babygun.store.records import Owner
from scripts.chaos.history import KEYS, Revision


@dataclass(frozen=True)
class Ownership:
    """An owner key. ``created``: its create revision, the fencing token."""

    worker_id: str
    created: int
    lease: int


@dataclass(frozen=True)
class State:
    """All keys of one e-mail at one revision.

    ``record_lease``: 0 for none. ``waiting``: not-before keys, as queue and time. ``log``: the log
    keys' entries, by number, with their leases. ``chunks``: of the content, with their leases.
    ``marks``: kinds of its end marks. ``failed``: the lease of its mark of a failure. ``parts``: of
    a wide e-mail, by queue, with their leases.

    The record of a wide e-mail is put together with its parts, and so is its log.
    """

    record: Email | None = None
    record_lease: int = 0
    jobs: frozenset[str] = frozenset()
    waiting: frozenset[tuple[str, datetime]] = frozenset()
    owners: dict[str, Ownership] = field(default_factory=dict)
    log: dict[int, tuple[LogEntry, int]] = field(default_factory=dict)
    chunks: dict[bytes, int] = field(default_factory=dict)
    marks: frozenset[str] = frozenset()
    failed: int | None = None
    parts: dict[str, tuple[Part, int]] = field(default_factory=dict)

    def places(self, queue: str) -> int:
        """How many jobs and not-before keys a queue has."""
        return (queue in self.jobs) + sum(name == queue for name, _ in self.waiting)


@dataclass(frozen=True)
class Step:
    """One revision that changed keys of the e-mail. It was made between ``since`` and ``at``.

    ``whole``: False where the watch lost revisions before it: then it may be several changes.
    ``jobs_put``: queues whose job was written, even without a change.
    """

    since: float
    at: float
    revision: int
    before: State
    after: State
    jobs_put: frozenset[str]
    whole: bool = True

    @property
    def changes_record(self) -> bool:
        """Whether it writes another record. That on another lease is the same record."""
        return self.after.record is not None and self.before.record != self.after.record

    @property
    def entry(self) -> LogEntry | None:
        """The log entry of the change of the record, from its key or from the record itself."""
        record = self.after.record
        if record is None:
            return None
        if record.log_seq in self.after.log:
            return self.after.log[record.log_seq][0]
        return next((e for e in entries_in_record(record) if e.seq == record.log_seq), None)


def applied(before: State, group: list[Revision]) -> State:
    """The state after some keys have changed."""
    record, lease, failed = before.record, before.record_lease, before.failed
    jobs, waiting, marks = set(before.jobs), set(before.waiting), set(before.marks)
    owners, log, chunks = dict(before.owners), dict(before.log), dict(before.chunks)
    parts = dict(before.parts)
    for event in group:
        key, gone = event.key, event.gone
        if key.startswith(KEYS.emails):
            record = None if gone else codec.decode_email(event.value)
            lease = event.lease
        elif key.startswith(KEYS.jobs):
            (jobs.discard if gone else jobs.add)(KEYS.parse_job(key).queue)
        elif key.startswith(KEYS.waiting):
            due, ref = KEYS.parse_not_before(key)
            (waiting.discard if gone else waiting.add)((ref.queue, due))
        elif key.startswith(KEYS.owners):
            owners.pop(queue := KEYS.parse_owner(key).queue, None)
            if not gone:
                owner: Owner = codec.decode_owner(event.value)
                owners[queue] = Ownership(owner.worker_id, event.create_revision, event.lease)
        elif key.startswith((KEYS.logs, KEYS.parts, KEYS.contents)):
            _apply(event, log, parts, chunks)
        elif key.startswith(KEYS.failures):
            failed = None if gone else event.lease
        elif key.startswith(KEYS.retentions):
            (marks.discard if gone else marks.add)(key.split(b"/")[-3].decode())
    if record is not None and record.wide is not None:
        record, log = _whole(record, parts)
    return State(
        record,
        lease,
        frozenset(jobs),
        frozenset(waiting),
        owners,
        log,
        chunks,
        frozenset(marks),
        failed,
        parts,
    )


def _apply(
    event: Revision,
    log: dict[int, tuple[LogEntry, int]],
    parts: dict[str, tuple[Part, int]],
    chunks: dict[bytes, int],
) -> None:
    """Takes in a key of the log, a part or a chunk."""
    key, gone = event.key, event.gone
    if key.startswith(KEYS.logs):
        log.pop(number := int(key.split(b"/")[-1]), None)
        if not gone:
            log[number] = codec.decode_log_entry(event.value), event.lease
    elif key.startswith(KEYS.parts):
        parts.pop(queue := KEYS.parse_part(key).queue, None)
        if not gone:
            parts[queue] = codec.decode_part(event.value), event.lease
    else:
        chunks.pop(key, None)
        if not gone:
            chunks[key] = event.lease


def _whole(
    record: Email, parts: dict[str, tuple[Part, int]]
) -> tuple[Email, dict[int, tuple[LogEntry, int]]]:
    """A wide e-mail's record and log, put together. ``wide`` says what is not in the parts."""
    its = {queue: part for queue, (part, _) in sorted(parts.items())}
    bare = wide.record_of(record) if record.queues else record
    leases = {entry.seq: lease for part, lease in parts.values() for entry in part.log}
    entries = wide.merged_log(part.log for part in its.values())
    log = {entry.seq: (entry, leases[entry.seq]) for entry in entries}
    return wide.unlogged(wide.with_parts(bare, its)), log
