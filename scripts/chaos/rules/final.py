"""Invariant 1: no e-mail is lost or stuck."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.rules import Rule, Run, Violation
from scripts.chaos.story import Story


def _check(story: Story, run: Run) -> Iterator[Violation]:
    record = story.record
    if record is None:
        return
    end = run.history.end
    if not record.final and story.last.record is None:
        gone = next(step for step in reversed(story.steps) if step.before.record)
        yield Violation(
            story.email_id,
            gone.at,
            "its record was deleted while it was incomplete",
            "a record until it is final",
            gone.revision,
        )
    elif not record.final:
        yield Violation(
            story.email_id, end, "it is incomplete though all is quiet", "a final status"
        )


RULE = Rule(
    "all-final", "Every stored e-mail is final when all is quiet, and none is lost.", _check
)
