"""The limits of a site hold for all workers together, as its server saw them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scripts.chaos.history import Linked
from scripts.chaos.mail_hosts import CONNECTIONS, PROVIDER, RATE
from scripts.chaos.rules import LAG, Rule, Run, Violation

WINDOW = 10.0  # s, any of which holds that many times the rate
_WAKES = 2.0  # s, for which a paused worker that wakes may keep what its lease no longer covers


@dataclass
class _Connection:
    pid: int
    begin: float
    end: float


def _check(run: Run) -> Iterator[Violation]:
    opened: dict[int, _Connection] = {}
    mails: list[float] = []
    for event in run.history.events(Linked):
        if event.relay != PROVIDER:
            continue
        if event.what == "open":
            opened[event.number] = _Connection(event.pid, event.at, run.history.end + 2 * LAG)
        elif event.what == "close":
            opened[event.number].end = event.at
        else:
            mails.append(event.at)
    yield from _connections(run, list(opened.values()))
    yield from _messages(run, mails)


def _connections(run: Run, found: list[_Connection]) -> Iterator[Violation]:
    """At each opening: those that stay, since the harness may see an end a little late."""
    for one in found:
        at = one.begin
        there = [
            each
            for each in found
            if each.begin <= at and each.end > at + LAG and not _stood_still(run, each.pid, at)
        ]
        if len(there) > CONNECTIONS and not run.was_busy(at - LAG, at + LAG):
            yield Violation(
                "",
                at,
                f"{len(there)} connections to the limited site",
                f"at most {CONNECTIONS} of all workers together",
            )


def _stood_still(run: Run, pid: int, at: float) -> bool:
    """Whether the worker was paused: it can't close what it has."""
    return any(span.begin <= at <= span.end + _WAKES for span in run.pauses.get(pid, ()))


def _messages(run: Run, times: list[float]) -> Iterator[Violation]:
    most = int(RATE * WINDOW)
    for first, last in zip(times, times[most:], strict=False):
        if last - first < WINDOW - LAG and not run.was_busy(first, last):
            yield Violation(
                "",
                last,
                f"{most + 1} messages to the limited site within {last - first:.1f} s",
                f"at most {most} in any {WINDOW:g} s",
            )
            return


RULE = Rule(
    "site-limits-hold",
    "A site never sees more connections or messages than its limits, of all workers together.",
    of_run=_check,
)
