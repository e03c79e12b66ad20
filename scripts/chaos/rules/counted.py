"""The record of a wide e-mail counts what its parts are."""

from __future__ import annotations

from collections.abc import Iterator

from babygun.email import wide
from scripts.chaos.rules import Rule, Run, Violation, broken
from scripts.chaos.story import Story


def _check(story: Story, run: Run) -> Iterator[Violation]:
    for step in story.steps:
        record = step.after.record
        if record is not None and not wide.is_whole(record):
            yield broken(
                story,
                step,
                f"beyond its {len(record.queues)} parts the record counts {record.wide}",
                "nothing beyond them",
            )


RULE = Rule(
    "parts-are-counted",
    "The record of a wide e-mail counts the recipients and queues of its parts.",
    _check,
)
