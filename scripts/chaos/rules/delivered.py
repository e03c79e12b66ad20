"""Delivered means that a receiver has it."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.rules import LAG, Rule, Run, Violation, broken
from scripts.chaos.story import Story


def _check(story: Story, run: Run) -> Iterator[Violation]:
    for step in story.changes():
        assert step.after.record is not None
        known = step.before.record.recipients if step.before.record else ()
        earlier = {r.email for r in known if r.status == "delivered"}
        for recipient in step.after.record.recipients:
            if recipient.status != "delivered" or recipient.email in earlier:
                continue
            if not any(
                recipient.email in copy.recipients and copy.committed and copy.at < step.at + LAG
                for copy in story.received
            ):
                yield broken(
                    story,
                    step,
                    f"{recipient.email} is delivered, and no receiver has taken it",
                    "a message that a receiver answered with 250",
                )


RULE = Rule(
    "delivered-was-received",
    "A recipient that is delivered has got it: a receiver said 250.",
    _check,
)
