"""A domain that enforces its TLS policy gets nothing in plain text."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.history import Received
from scripts.chaos.rules import Rule, Run, Violation

# s, after which every worker goes by a policy that etcd has. A worker may have looked the domain up
# while its policy could not be had: it remembers that for half a minute.
_KNOWN = 45.0


def _check(run: Run) -> Iterator[Violation]:
    for copy in run.history.events(Received):
        if copy.tls:
            continue
        for address in copy.recipients:
            since = run.enforced.get(address.rpartition("@")[2])
            if since is not None and since + _KNOWN < copy.at:
                yield Violation(
                    copy.email_id,
                    copy.at,
                    f"{address} got a message in plain text",
                    "TLS: the domain's policy is enforced",
                )


RULE = Rule(
    "never-plain-under-enforce",
    "A domain that enforces MTA-STS gets its mail over TLS, or not at all.",
    of_run=_check,
)
