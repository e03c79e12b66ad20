"""The story of one e-mail: its requests, its messages, and its state at every revision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from babygun.email.model import Email
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
from scripts.chaos.marks import with_addresses
from scripts.chaos.states import Ownership, State, Step, applied


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
        with_addresses(list(_steps(revisions, history))),
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
    after = applied(before, group)
    jobs = {
        KEYS.parse_job(event.key).queue
        for event in group
        if event.key.startswith(KEYS.jobs) and not event.gone
    }
    kind, revision = _place(group[-1], history.gaps)
    since, at = history.made(group[0])[0], history.made(group[-1])[1]
    return Step(since, at, revision, before, after, frozenset(jobs), kind == "revision")
