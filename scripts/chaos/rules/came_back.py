"""What comes back counts, once it is accepted; and nothing else changes a delivered recipient."""

from __future__ import annotations

from collections.abc import Iterator

from babygun.email.model import Email, Recipient
from babygun.email.return_path import PREFIX
from scripts.chaos.history import Returned
from scripts.chaos.rules import LAG, Rule, Run, Violation, broken
from scripts.chaos.states import State, Step
from scripts.chaos.story import Story

_GENERATIONS = "abcdefghijklmnopqrstuvwxyz234567"


def _counts(story: Story, run: Run) -> Iterator[Violation]:
    for event in story.returned:
        if event.forged:
            continue
        what = f"a {event.kind} about {event.recipient}"
        if event.reply.startswith("5"):
            yield _of(event, f"{what} is refused: {event.reply}", "it is taken, or comes again")
        elif event.reply.startswith("2"):
            states = story.states_at(event.at, event.at)
            if all(_is_ignored(state, event) for state in states):
                yield _of(event, f"{what} is accepted, and not written", "it is committed before")


def _is_ignored(state: State, event: Returned) -> bool:
    """Whether nothing of the event is in the record. A record that is gone has nothing to say."""
    recipient = _recipient(state.record, event.recipient) if state.record else None
    if recipient is None:
        return False
    if event.kind == "complaint":
        return recipient.complained_at is None
    letter = event.path.removeprefix(PREFIX).split(".")[1][8]
    of_before = _GENERATIONS.index(letter) != recipient.retried % 32
    return not of_before and recipient.status in ("delivered", "pending", "deferred")


def _is_its_own(story: Story, run: Run) -> Iterator[Violation]:
    for event in story.returned:
        if event.forged and event.reply.startswith("2"):
            yield _of(event, f"mail to {event.address} is accepted", "it is refused: it is forged")
    for step in story.changes():
        for kind, address in _changed(step):
            if not any(
                event.kind == kind
                and not event.forged
                and event.recipient == address
                and event.asked < step.at + LAG
                for event in story.returned
            ):
                yield broken(
                    story, step, f"a {kind} of {address}", "a message about it that came back"
                )


def _changed(step: Step) -> Iterator[tuple[str, str]]:
    """Recipients of whom the step says that something came back."""
    before, after = step.before.record, step.after.record
    if before is None or after is None:
        return
    for old, new in zip(before.recipients, after.recipients, strict=True):
        if new.late and not old.late:
            yield "bounce", new.email
        if new.complained_at is not None and old.complained_at is None:
            yield "complaint", new.email


def _recipient(record: Email, address: str) -> Recipient | None:
    return next((each for each in record.recipients if each.email == address), None)


def _of(event: Returned, seen: str, expected: str) -> Violation:
    return Violation(event.email_id, event.at, seen, expected)


COUNTS = Rule(
    "what-comes-back-counts",
    "A bounce message or a complaint is committed before it is accepted, and is never refused.",
    _counts,
)
ITS_OWN = Rule(
    "only-its-own-comes-back",
    "A recipient bounces late or complains only by a message of its own that came back.",
    _is_its_own,
)
