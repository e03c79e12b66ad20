"""A client's secret works, the one before in its grace, and no older one."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.history import SecretTried
from scripts.chaos.rules import LAG, Rule, Run, Violation

# s, after which an API process has followed a change of a client, if nothing is broken. After a
# fault it may need so much longer to follow again.
FOLLOWED, AGAIN = 3.0, 10.0
_BREAKS = frozenset({"etcd", "api"})
_WHICH = ("the newest secret", "the secret before", "an older secret")


def _check(run: Run) -> Iterator[Violation]:
    for tried in run.history.events(SecretTried):
        asked, given = tried.rotated
        begin = asked - AGAIN
        if any("clock" in name for name in run.faults_in(begin, tried.at)):
            continue  # the grace ends by the process's clock
        which, in_grace = _WHICH[tried.place], tried.place == 1 and tried.at < asked + tried.grace
        if in_grace and tried.status == 401:
            yield Violation("", tried.at, f"{which} is refused in its grace", "a token")
        if tried.asked - given < FOLLOWED or run.was_busy(asked, tried.at):
            continue  # the process may not know the newest one yet
        if run.faults_in(begin, tried.at, touching=_BREAKS):
            continue
        over = tried.asked > given + tried.grace + LAG
        is_old = tried.place == 2 or (tried.place == 1 and over)
        if is_old and tried.status == 200:
            yield Violation("", tried.at, f"{which} gets a token", "a refusal")
        if tried.place == 0 and tried.status == 401:
            yield Violation("", tried.at, f"{which} is refused", "a token")


RULE = Rule(
    "old-secrets-end",
    "A changed secret works, the one before works in its grace, and an older one never.",
    of_run=_check,
)
