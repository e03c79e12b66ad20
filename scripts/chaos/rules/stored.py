"""Invariant 1: what was acknowledged is stored."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.rules import Rule, Run, Violation
from scripts.chaos.story import Story


def _check(story: Story, run: Run) -> Iterator[Violation]:
    at = story.acknowledged()
    if at is None:
        return
    stored = story.stored_at
    if stored is None:
        yield Violation(
            story.email_id, at, "a client got its id, and etcd never had it", "a record of it"
        )


RULE = Rule("acknowledged-is-stored", "An e-mail whose id a client got is in etcd.", _check)
