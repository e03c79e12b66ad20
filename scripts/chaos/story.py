"""The story of one e-mail: its requests, its messages, and its state at every revision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from babygun.email import wide
from babygun.email.log import entries_in_record
from babygun.email.model import Email, LogEntry, Part
from babygun.store import codec
from babygun.store.records import Owner
from scripts.chaos.history import (
    KEYS,
    Answered,
    Asked,
    Gap,
    History,
    Notified,
    Received,
    Returned,
    Revision,
)


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


@dataclass(frozen=True)
class Claim:
    """The time that a worker owned a queue. ``end``: None if it still does."""

    queue: str
    owner: Ownership
    begin: Step
    end: Step | None

    def meets(self, begin: float, end: float) -> bool:
        """Whether it may have a moment in common with [begin, end]."""
        return self.begin.since <= end and (self.end is None or begin <= self.end.at)


@dataclass(frozen=True)
class Story:
    """One e-mail. ``asked``: every request that was about it; ``answers``: by request's number."""

    email_id: str
    steps: list[Step]
    asked: list[Asked]
    answers: dict[int, Answered]
    received: list[Received]
    notified: list[Notified]
    returned: list[Returned]

    @property
    def last(self) -> State:
        return self.steps[-1].after if self.steps else State()

    @property
    def record(self) -> Email | None:
        """The newest record, even if it is deleted by now."""
        return next((s.after.record for s in reversed(self.steps) if s.after.record), None)

    @property
    def stored_at(self) -> Step | None:
        """The step that stored it."""
        return next((step for step in self.steps if step.after.record), None)

    def acknowledged(self) -> float | None:
        """When a client first got its id."""
        times = [a.at for a in self.answers.values() if self.email_id in a.ids]
        return min(times, default=None)

    def changes(self) -> Iterator[Step]:
        """The steps that change the record, and are known one by one."""
        return (step for step in self.steps if step.whole and step.changes_record)

    def states_at(self, begin: float, end: float) -> list[State]:
        """Every state that it may have had between these times."""
        found = [State()]
        for step in self.steps:
            if step.at < begin:
                found = [step.after]
            elif step.since <= end:
                found.append(step.after)
        return found

    def claims(self) -> Iterator[Claim]:
        """Every claim of its queues, in order of their ends."""
        begins: dict[str, Step] = {}
        for step in self.steps:
            for queue, owner in step.before.owners.items():
                if step.after.owners.get(queue) != owner:
                    yield Claim(queue, owner, begins[queue], step)
            for queue, owner in step.after.owners.items():
                if step.before.owners.get(queue) != owner:
                    begins[queue] = step
        for queue, owner in self.last.owners.items():
            yield Claim(queue, owner, begins[queue], None)


def story(history: History, email_id: str) -> Story:
    """Reads the story of an e-mail."""
    events = history.of_email(email_id)
    revisions = [event for event in events if isinstance(event, Revision)]
    revisions.sort(key=lambda event: event.revision)
    asked = [event for event in events if isinstance(event, Asked)]
    return Story(
        email_id,
        list(_steps(revisions, history)),
        asked,
        {event.number: event for event in events if isinstance(event, Answered)},
        [event for event in events if isinstance(event, Received)],
        [event for event in events if isinstance(event, Notified)],
        [event for event in events if isinstance(event, Returned)],
    )


def stories(history: History) -> Iterator[Story]:
    """The stories of all e-mails."""
    return (story(history, email_id) for email_id in history.email_ids())


def _steps(revisions: list[Revision], history: History) -> Iterator[Step]:
    """One step for each revision; one for all revisions that a gap holds."""
    state = State()
    gaps = history.gaps
    group: list[Revision] = []
    for event in revisions:
        if group and _place(group[0], gaps) != _place(event, gaps):
            yield (step := _step(state, group, history))
            state = step.after
            group = []
        group.append(event)
    if group:
        yield _step(state, group, history)


def _place(event: Revision, gaps: list[Gap]) -> tuple[str, int]:
    for gap in gaps:
        if gap.after < event.revision <= gap.until:
            return "gap", gap.until
    return "revision", event.revision


def _step(before: State, group: list[Revision], history: History) -> Step:
    after = _applied(before, group)
    jobs = {
        KEYS.parse_job(event.key).queue
        for event in group
        if event.key.startswith(KEYS.jobs) and not event.gone
    }
    kind, revision = _place(group[-1], history.gaps)
    since, at = history.made(group[0])[0], history.made(group[-1])[1]
    return Step(since, at, revision, before, after, frozenset(jobs), kind == "revision")


def _applied(before: State, group: list[Revision]) -> State:
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
