"""A hold keeps the mail of its site where it is: nobody claims it, but for the probes."""

from __future__ import annotations

from collections.abc import Iterator

from babygun.store.keys import JobRef
from scripts.chaos.history import KEYS, Revision
from scripts.chaos.mail_hosts import site_of
from scripts.chaos.rules import Rule, Run, Violation
from scripts.chaos.rules.ends import REMEMBERED
from scripts.chaos.story import story

KNOWN = 1.5  # s, until all workers know of a hold, and have sent what they had begun


def _check(run: Run) -> Iterator[Violation]:
    holds: dict[str, tuple[float, int]] = {}  # by site: since when, and the probes that may be
    for event in run.history.events(Revision):
        if event.key.startswith(KEYS.holds):
            name = KEYS.hold_name(event.key)
            since, probes = holds.pop(name, (run.history.made(event)[1], -1))
            if not event.gone:  # it is written for each probe
                holds[name] = since, probes + 1
        elif event.key.startswith(KEYS.owners) and event.version == 1:
            ref = KEYS.parse_owner(event.key)
            site = site_of(ref.queue)
            at = run.history.made(event)[1]  # the watch may have brought it later
            since, probes = holds.get(site, (at, 0))
            if at - since <= KNOWN or _late(run, since, at):
                continue
            if probes < 1 and not _without_dns(run, ref):
                yield Violation(
                    ref.email_id,
                    at,
                    f"a worker claimed it though {site} is held since {since:.1f} s",
                    "one probe for each write of the hold",
                    event.revision,
                )
            holds[site] = since, probes - 1


def _late(run: Run, begin: float, end: float) -> bool:
    """Whether a worker may not have known of the hold, or not which site the e-mail's is.

    A domain without an answer of DNS has a site of its own, and so has one of a lie.
    """
    return (
        bool(run.faults_in(begin - KNOWN, end, touching=frozenset({"etcd", "worker"})))
        or bool(run.faults_in(begin - REMEMBERED, end, touching=frozenset({"dns"})))
        or run.was_busy(begin, end)
    )


def _without_dns(run: Run, ref: JobRef) -> bool:
    """Whether a try found no answer of DNS, on a busy machine: then its site was not known."""
    return any(
        reply.reply_class == "dns"
        for step in story(run.history, ref.email_id).changes()
        for attempt in (step.entry.attempts if step.entry else ())
        if attempt.queue == ref.queue
        for reply in attempt.replies
    )


RULE = Rule(
    "held-mail-rests",
    "While a site is held, no mail of it is claimed, but for one probe at a time.",
    of_run=_check,
)
