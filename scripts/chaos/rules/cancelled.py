"""Cancelled means: not sent afterwards."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.rules import LAG, Rule, Run, Violation
from scripts.chaos.story import Story


def _check(story: Story, run: Run) -> Iterator[Violation]:
    for copy in story.received:
        # Cancelled both before and after: so neither a cancel nor a retry crosses the message.
        cancelled = _cancelled_at(story, copy.at - LAG) & _cancelled_at(story, copy.at + LAG)
        for address in cancelled & set(copy.recipients):
            yield Violation(
                story.email_id,
                copy.at,
                f"{address} got a message after it was cancelled",
                "no message after the cancel",
            )
    for asked in story.asked:
        answer = story.answers.get(asked.number)
        if asked.call != "cancel" or answer is None or answer.status != 200:
            continue
        if not any(step.entry and step.entry.event == "cancelled" for step in story.changes()):
            yield Violation(
                story.email_id,
                answer.at,
                "a cancel was answered with success, and the log has none",
                "an entry cancelled",
            )


def _cancelled_at(story: Story, at: float) -> set[str]:
    record = story.state_at(at).record
    return {r.email for r in record.recipients if r.status == "cancelled"} if record else set()


RULE = Rule("cancelled-is-not-sent", "Nobody gets a message after a cancel stopped it.", _check)
