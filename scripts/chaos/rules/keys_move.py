"""Claim, release and due move keys and change no record. Jobs appear and go in no other way."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.rules import Rule, Run, Violation, broken
from scripts.chaos.states import Step
from scripts.chaos.story import Story


def _check(story: Story, run: Run) -> Iterator[Violation]:
    for step in story.steps:
        if step.whole and step.before.record is not None and not step.changes_record:
            yield from _moved(story, step)


def _moved(story: Story, step: Step) -> Iterator[Violation]:
    before, after = step.before, step.after
    made_due = {queue for queue, _ in before.waiting - after.waiting}
    for queue in after.jobs - before.jobs:
        if queue not in made_due:
            yield broken(story, step, f"queue {queue} has a job from nowhere", "a not-before key")
    for queue in made_due - after.jobs:
        yield broken(story, step, f"the not-before key of queue {queue} is gone", "a job for it")
    for queue in before.jobs - after.jobs:
        if after.record is not None:
            yield broken(story, step, f"the job of queue {queue} is gone", "a result")
    if after.waiting - before.waiting:
        yield broken(story, step, "a not-before key from nowhere", "a result that defers")
    if after.record is None and not (before.record and before.record.final):
        yield broken(story, step, "the record of an incomplete e-mail is gone", "kept until final")


RULE = Rule(
    "keys-move", "Without a change of the record, keys move by claim, release and due only.", _check
)
