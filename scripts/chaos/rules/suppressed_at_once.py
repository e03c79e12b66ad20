"""Who bounces for good is suppressed in the same transaction, and before each later e-mail."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.rules import LAG, Rule, Run, Violation, broken
from scripts.chaos.states import Step
from scripts.chaos.story import Story

_NO_MAILBOX = "5.1.1"


def _check(story: Story, run: Run) -> Iterator[Violation]:
    stored = story.stored_at
    if stored is None or stored.after.record is None:
        return
    asked = min((each.at for each in story.asked), default=stored.since)
    for recipient in stored.after.record.recipients:
        there = run.suppressed(recipient.email)
        if recipient.status == "suppressed":
            if not any(begin.revision <= stored.revision for begin, _ in there):
                yield broken(story, stored, f"{recipient.email} is suppressed", "no reason for it")
        elif any(
            begin.at + LAG < asked and (end is None or end.revision > stored.revision)
            for begin, end in there
        ):
            yield broken(
                story, stored, f"{recipient.email} is accepted", "suppressed: it bounced before"
            )
    for step in story.changes():
        for address in _bounced(step):
            if not any(
                begin.revision <= step.revision and (end is None or end.revision > step.revision)
                for begin, end in run.suppressed(address)
            ):
                yield broken(
                    story, step, f"{address} bounced for good", "suppressed with that revision"
                )


def _bounced(step: Step) -> set[str]:
    """Those of whom a server has just said that they don't exist."""
    entry = step.entry
    if entry is None or step.before.record is None:
        return set()
    return {
        reply.email
        for attempt in entry.attempts
        for reply in attempt.replies
        if reply.status == "bounced" and reply.enhanced_code == _NO_MAILBOX
    }


RULE = Rule(
    "bounced-is-suppressed",
    "Who bounces for good is suppressed at once, and by each e-mail that is accepted later.",
    _check,
)
