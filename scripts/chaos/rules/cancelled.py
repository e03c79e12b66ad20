"""Cancelled means: not sent afterwards."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.rules import LAG, Rule, Run, Violation
from scripts.chaos.story import Story


def _check(story: Story, run: Run) -> Iterator[Violation]:
    for copy in story.received:
        for address in _cancelled_at(story, copy.at) & set(copy.recipients):
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
    """Those cancelled all the time around it: neither a cancel nor a retry crosses the message."""
    states = story.states_at(at - LAG, at + LAG)
    records = [state.record for state in states]
    return set[str].intersection(
        *(
            {r.email for r in e.recipients if r.status == "cancelled"} if e else set()
            for e in records
        )
    )


RULE = Rule("cancelled-is-not-sent", "Nobody gets a message after a cancel stopped it.", _check)
