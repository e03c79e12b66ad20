"""Invariants 3 and 5: content goes out only while the sender holds the owner key."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.history import Received
from scripts.chaos.rules import LAG, Rule, Run, Violation
from scripts.chaos.story import Story

# s, that a message may take from the check of the lease to the receiver's record of it.
ON_ITS_WAY = 1.5


def _check(story: Story, run: Run) -> Iterator[Violation]:
    for copy in story.received:
        if not story.steps or _was_owned(story, copy):
            continue
        yield Violation(
            story.email_id,
            copy.at,
            f"{', '.join(copy.recipients)} got a message while no worker owned its queue",
            "content goes out only under a claim whose lease lasts",
        )


def _was_owned(story: Story, copy: Received) -> bool:
    """Whether a queue of these recipients had an owner at the time, or shortly before."""
    record = story.record
    queues = {r.queue for r in record.recipients if r.email in copy.recipients} if record else set()
    return any(
        claim.queue in queues and claim.meets(copy.at - ON_ITS_WAY, copy.at + LAG)
        for claim in story.claims()
    ) or any(not step.whole and step.since <= copy.at <= step.at for step in story.steps)


RULE = Rule(
    "sent-by-an-owner", "A message's content goes out only while a worker owns its queue.", _check
)
