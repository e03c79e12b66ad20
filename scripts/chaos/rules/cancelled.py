"""Cancelled means: not sent afterwards."""

from __future__ import annotations

from collections.abc import Iterator

from babygun.email.model import RecipientStatus
from scripts.chaos.rules import LAG, Rule, Run, Violation
from scripts.chaos.story import Story


def _check(story: Story, run: Run) -> Iterator[Violation]:
    for copy in story.received:
        for address in stopped_at(story, copy.at, "cancelled") & set(copy.recipients):
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


def stopped_at(story: Story, at: float, status: RecipientStatus) -> set[str]:
    """Those with the status all the time around it: no change of it crosses the message."""
    states = story.states_at(at - LAG, at + LAG)
    records = [state.record for state in states]
    return set[str].intersection(
        *({r.email for r in e.recipients if r.status == status} if e else set() for e in records)
    )


RULE = Rule("cancelled-is-not-sent", "Nobody gets a message after a cancel stopped it.", _check)
