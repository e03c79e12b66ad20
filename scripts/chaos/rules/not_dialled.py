"""Addresses that are not public are never dialled, whatever DNS says."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.history import Linked
from scripts.chaos.mail_hosts import FORBIDDEN
from scripts.chaos.rules import Rule, Run, Violation


def _check(run: Run) -> Iterator[Violation]:
    for event in run.history.events(Linked):
        if event.relay == FORBIDDEN and event.what == "open":
            yield Violation(
                "", event.at, "a connection to an address that is not public", "none, ever"
            )


RULE = Rule(
    "never-dialled",
    "No mail goes to an address that is not public, though DNS names it.",
    of_run=_check,
)
