"""Invariant 6: a recipient gets a message again only where an event of the history allows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from scripts.chaos.history import Received
from scripts.chaos.rules import LAG, Rule, Run, Violation
from scripts.chaos.states import Ownership, Step
from scripts.chaos.story import Claim, Story

REPLY_CUT = "the receiver took the message and cut its reply"
# By how the worker that sent the first copy came to lose its claim.
ENDED = "a worker ended between the reply and the commit"
PAUSED = "a worker was paused past its lease"
LEASE_LOST = "a worker lost its lease during a fault"
REPLY_LOST = "the reply was lost on its way during a fault"
LEASE_LATE = "a worker lost its lease, since the machine was busy"
REPLY_LATE = "the reply came too late, since the machine was busy"

# What a fault breaks that can lose a reply, or a worker's lease. Others explain nothing.
_LOSE_REPLIES = frozenset({"relay", "site", "worker"})
_LOSE_LEASES = frozenset({"etcd", "worker"})


def _check(story: Story, run: Run) -> Iterator[Violation]:
    for address, copy, again in second_copies(story):
        if reason(story, run, address, copy, again) is None:
            yield Violation(
                story.email_id,
                again.at,
                f"{address} got it at {copy.at:.2f} s, and again; nothing in the history allows it",
                "one copy",
            )


def second_copies(story: Story) -> Iterator[tuple[str, Received, Received]]:
    """Each copy beyond the first that a receiver took: the address, the copy before, the copy."""
    for address in sorted({address for copy in story.received for address in copy.recipients}):
        taken = [
            copy
            for copy in story.received
            if address in copy.recipients and copy.committed is not False
        ]
        for copy, again in pairwise(taken):
            yield address, copy, again


def count(story: Story, run: Run) -> Counter[str]:
    """The copies beyond the first, by the reason that allows them."""
    return Counter(
        reason(story, run, address, copy, again) or "unexplained"
        for address, copy, again in second_copies(story)
    )


def reason(story: Story, run: Run, address: str, copy: Received, again: Received) -> str | None:
    """Why a second copy was sent. None: nothing allows it."""
    if copy.committed is None:
        return REPLY_CUT
    reasons = (_of_claim(run, address, copy, claim) for claim in _claims_of(story, address, copy))
    return next(filter(None, reasons), None)


def _claims_of(story: Story, address: str, copy: Received) -> list[Claim]:
    """The claims that the copy may have been sent under: those of its time, else the one before.

    The one before counts too if its try ended as uncertain: then the message was on its way.
    """
    record = story.record
    queue = next((r.queue for r in record.recipients if r.email == address), "") if record else ""
    claims = [claim for claim in story.claims() if claim.queue == queue]
    meeting = [claim for claim in claims if claim.meets(copy.at - LAG, copy.at + LAG)]
    before = [claim for claim in claims if claim.end and claim.end.at < copy.at][-1:]
    if meeting and before and before[0].end and not _is_uncertain(before[0].end, address):
        before = []
    return meeting + [claim for claim in before if claim not in meeting]


def _of_claim(run: Run, address: str, copy: Received, claim: Claim) -> str | None:
    """Why the end of this claim allows another copy."""
    step = claim.end
    if step is None:
        return None
    if claim.queue not in step.jobs_put and not step.changes_record:
        return _lost_claim(run, claim.owner, copy.at, step.at)
    if step.changes_record and _is_uncertain(step, address):
        # A reply that came to a worker which stood still is lost too: it counts the time.
        if run.faults_in(copy.at - run.lease_ttl, step.at, touching=_LOSE_REPLIES):
            return REPLY_LOST
        return REPLY_LATE if run.was_busy(copy.at - run.lease_ttl, step.at) else None
    return None


def _lost_claim(run: Run, owner: Ownership, sent: float, lost: float) -> str | None:
    """Why an owner key went without a result: its worker's lease did."""
    pid = run.pids.get(owner.worker_id, 0)
    ended = run.ends.get(pid)
    if ended is not None and sent - LAG <= ended.at <= lost + LAG:
        return ENDED
    begin = min(sent, lost) - 2 * run.lease_ttl
    if any(span.meets(begin, lost) for span in run.pauses.get(pid, ())):
        return PAUSED
    if run.faults_in(begin, lost, touching=_LOSE_LEASES):
        return LEASE_LOST
    return LEASE_LATE if run.was_busy(begin, lost) else None


def _is_uncertain(step: Step, address: str) -> bool:
    """Whether the log says that nobody knows what became of the message, or that the link broke."""
    if step.entry is None:
        return False
    return any(
        reply.email == address and reply.status_code is None
        for attempt in step.entry.attempts
        for reply in attempt.replies
    )


RULE = Rule(
    "duplicates-explained",
    "A second copy is sent only if a worker died, lost its lease, or the reply was lost.",
    _check,
)
