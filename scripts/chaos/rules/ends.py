"""Each recipient ends as its server said."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.behaviours import behaviour_of
from scripts.chaos.rules import Rule, Run, Violation
from scripts.chaos.story import Story


def _check(story: Story, run: Run) -> Iterator[Violation]:
    record = story.record
    for recipient in record.recipients if record else ():
        try:
            ends = behaviour_of(recipient.email).ends()
        except ValueError:
            continue  # none of the load's
        if recipient.final and recipient.status not in {*ends, "cancelled"}:
            yield Violation(
                story.email_id,
                story.steps[-1].at,
                f"{recipient.email} is {recipient.status}: {recipient.status_reason}",
                f"{' or '.join(sorted(ends))}, by what its server says",
            )


RULE = Rule(
    "ends-as-the-server-says",
    "A recipient is delivered, bounced or expired as its server's replies say.",
    _check,
)
