"""Greylisted mail comes again from the same address, or the server would not know it."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.history import Greylisted
from scripts.chaos.mail_hosts import NEW_SOURCE
from scripts.chaos.rules import Rule, Run, Violation


def _check(run: Run) -> Iterator[Violation]:
    sources: dict[tuple[str, str], str] = {}  # by server and recipient
    for event in run.history.events(Greylisted):
        before = sources.setdefault((event.relay, event.recipient), event.source)
        # What is above the ceiling of its warm-up goes from another address, as long as it is.
        if event.source != before and NEW_SOURCE not in (event.source, before):
            yield Violation(
                "",
                event.at,
                f"{event.recipient} came to {event.relay} from {event.source}",
                f"it comes from {before}, as before",
            )


RULE = Rule(
    "greylisted-comes-from-the-same-address",
    "A server that greylists sees each recipient's mail from the same address each time.",
    of_run=_check,
)
