"""Suppressed means: not sent."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.rules import Rule, Run, Violation
from scripts.chaos.rules.cancelled import stopped_at
from scripts.chaos.story import Story


def _check(story: Story, run: Run) -> Iterator[Violation]:
    for copy in story.received:
        for address in stopped_at(story, copy.at, "suppressed") & set(copy.recipients):
            yield Violation(
                story.email_id,
                copy.at,
                f"{address} got a message though it is suppressed",
                "no message to a suppressed address",
            )


RULE = Rule("suppressed-is-not-sent", "A suppressed recipient gets no message.", _check)
