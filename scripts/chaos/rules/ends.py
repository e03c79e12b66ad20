"""Each recipient ends as its server said."""

from __future__ import annotations

from collections.abc import Iterator

from babygun.routing.sites import MX
from scripts.chaos.behaviours import behaviour_of
from scripts.chaos.rules import Rule, Run, Violation
from scripts.chaos.story import Story

REMEMBERED = 60.0  # s, for which a worker may remember what DNS said


def _check(story: Story, run: Run) -> Iterator[Violation]:
    record = story.record
    for recipient in record.recipients if record else ():
        try:
            ends = behaviour_of(recipient.email).ends()
        except ValueError:
            continue  # none of the load's
        if _dns_lied(story, run) and recipient.queue.startswith(MX):
            ends |= {"bounced"}
        if recipient.final and recipient.status not in {*ends, "cancelled"}:
            yield Violation(
                story.email_id,
                story.steps[-1].at,
                f"{recipient.email} is {recipient.status}: {recipient.status_reason}",
                f"{' or '.join(sorted(ends))}, by what its server says",
            )


def _dns_lied(story: Story, run: Run) -> bool:
    """Whether DNS named hosts that mail must not go to, or workers may still remember that."""
    begin, end = story.steps[0].since - REMEMBERED, story.steps[-1].at
    return any(
        name.startswith("dns-lies")
        for name in run.faults_in(begin, end, touching=frozenset({"dns"}))
    )


RULE = Rule(
    "ends-as-the-server-says",
    "A recipient is delivered, bounced or expired as its server's replies say.",
    _check,
)
