"""A client's secret works, and each one before until its own end, though answers are lost."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.history import SecretTried
from scripts.chaos.rules import LAG, Rule, Run, Violation

# s, after which an API process has followed a change of a client, if nothing is broken. After a
# fault it may need so much longer to follow again.
FOLLOWED, AGAIN = 3.0, 10.0
_BREAKS = frozenset({"etcd", "api"})


def _check(run: Run) -> Iterator[Violation]:
    for tried in run.history.events(SecretTried):
        asked, given = tried.rotated
        begin = asked - AGAIN
        if any("clock" in name for name in run.faults_in(begin, tried.at)):
            continue  # the grace ends by the process's clock
        which = "a secret before" if tried.place else "the newest secret"
        in_grace = tried.place and tried.at < asked + tried.grace
        if in_grace and tried.status == 401:
            yield Violation("", tried.at, f"{which} is refused in its grace", "a token")
        if tried.asked - given < FOLLOWED or run.was_busy(asked, tried.at):
            continue  # the process may not know the newest one yet
        if run.faults_in(begin, tried.at, touching=_BREAKS):
            continue
        over = tried.asked > given + tried.grace + LAG
        if tried.place and over and tried.status == 200:
            yield Violation("", tried.at, f"{which} gets a token", "a refusal")
        if tried.place == 0 and tried.status == 401:
            yield Violation("", tried.at, f"{which} is refused", "a token")


RULE = Rule(
    "old-secrets-end",
    "A changed secret works, and each one before until its own end.",
    of_run=_check,
)
