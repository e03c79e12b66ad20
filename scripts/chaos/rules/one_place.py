"""Invariant 2: a queue that is not final has one of a job and a not-before key."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.rules import Rule, Run, Violation, broken
from scripts.chaos.states import Step
from scripts.chaos.story import Story


def _check(story: Story, run: Run) -> Iterator[Violation]:
    for step in story.steps:
        yield from _places(story, step)


def _places(story: Story, step: Step) -> Iterator[Violation]:
    state, record = step.after, step.after.record
    if record is None:
        # Content comes before its record, and may stay behind it for a moment.
        if state.jobs or state.waiting or state.owners:
            yield broken(story, step, "jobs, not-before keys or owners without a record", "none")
        return
    for queue, queue_state in record.queues.items():
        places, expected = state.places(queue), 0 if queue_state.final else 1
        if places != expected:
            is_final = "is final" if queue_state.final else "is not final"
            yield broken(
                story,
                step,
                f"queue {queue} {is_final} and has {places} jobs and not-before keys",
                f"{expected} of them together",
            )
        if queue_state.final != all(r.final for r in record.recipients if r.queue == queue):
            yield broken(
                story,
                step,
                f"queue {queue} and its recipients disagree on whether it is final",
                "a final queue exactly where all of its recipients are final",
            )
        if queue in state.owners and queue not in state.jobs:
            yield broken(story, step, f"queue {queue} has an owner and no job", "no owner")
    if record.final != all(each.final for each in record.queues.values()):
        yield broken(
            story,
            step,
            f"the record is {record.status}, its queues disagree",
            "incomplete exactly while a queue is not final",
        )


RULE = Rule(
    "one-place",
    "A queue that is not final has one of a job and a not-before key; a final one has neither.",
    _check,
)
