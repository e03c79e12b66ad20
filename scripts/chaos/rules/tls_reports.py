"""A domain's TLS report of a day is made once, of all that was counted."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.history import Reported
from scripts.chaos.rules import Rule, Run, Violation

_COUNTED = 6  # sessions: the counts of two workers, see count_yesterday
_BREAKS = frozenset({"worker", "etcd", "policy"})  # what can lose the answer to a report


def _check(run: Run) -> Iterator[Violation]:
    first: dict[tuple[str, str], Reported] = {}
    taken: dict[tuple[str, str], float] = {}
    counted = min((event.day for event in run.history.events(Reported)), default="")
    for event in run.history.events(Reported):
        name = event.domain, event.day
        before = first.setdefault(name, event)
        if event.report_id != before.report_id:
            yield _of(event, "a second report of the same day", f"one, {before.report_id}")
        if event.day == counted and event.sessions != _COUNTED:
            yield _of(event, f"it counts {event.sessions} sessions", f"{_COUNTED}, of two workers")
        if event.status >= 300:
            continue
        since = taken.setdefault(name, event.at)
        if since != event.at and not run.faults_in(since, event.at, touching=_BREAKS):
            yield _of(event, "it was taken before, and came again", "it is sent once")


def _of(event: Reported, seen: str, expected: str) -> Violation:
    return Violation("", event.at, f"TLS report of {event.domain}: {seen}", expected)


RULE = Rule(
    "tls-report-is-made-once",
    "A domain gets one TLS report of a day, with all that workers counted, and gets it once.",
    of_run=_check,
)
