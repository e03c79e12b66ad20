"""A new source keeps to the ceiling of its warm-up, of all workers together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from babygun.routing.sites import MX
from babygun.store import codec
from babygun.store.warm_ups.counts import Counts
from scripts.chaos.history import KEYS, Received, Revision
from scripts.chaos.mail_hosts import CEILING, NEW_SOURCE, is_straight, site_of
from scripts.chaos.rules import Rule, Run, Violation


def _check(run: Run) -> Iterator[Violation]:
    days = _days(run)
    sent: Counter[str] = Counter()
    for copy in run.history.events(Received):
        if copy.source != NEW_SOURCE or copy.committed is False or not is_straight(copy.relay):
            continue
        for address in copy.recipients:
            site = site_of(f"{MX}{address.rpartition('@')[2]}")
            sent[site] += 1
            most = CEILING * len(days.get(site, {""}))
            if sent[site] > most:
                yield Violation(
                    copy.email_id,
                    copy.at,
                    f"{site} got {sent[site]} recipients' mail from {NEW_SOURCE}",
                    f"at most {most}, the ceiling of its warm-up",
                )


def _days(run: Run) -> dict[str, set[str]]:
    """By site, the days that its counts know. A clock that a fault moves has another day."""
    found: dict[str, set[str]] = {}
    prefix = KEYS.warm_up_counts(NEW_SOURCE)
    for event in run.history.events(Revision):
        if event.key.startswith(prefix) and not event.gone:
            counts = codec.decode_state(event.value, Counts)
            days = {f"{day}" for day, count in counts.days.items() if count.taken}
            found.setdefault(event.key[len(prefix) :].decode(), set()).update(days)
    return found


RULE = Rule(
    "warm-up-ceilings-hold",
    "A source that warms up sends no more to a site than its ceiling, of all workers together.",
    of_run=_check,
)
