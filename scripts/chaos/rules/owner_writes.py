"""Invariant 3: only the holder of the owner key writes results."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from babygun.email.model import Email, LogEntry, Recipient
from scripts.chaos.rules import Rule, Run, Violation, broken
from scripts.chaos.states import Ownership, Step
from scripts.chaos.story import Story

RESULTS = ("delivered", "deferred", "held", "bounced", "expired", "suppressed")


def _check(story: Story, run: Run) -> Iterator[Violation]:
    claims = _Claims(run)
    for step in story.steps:
        entry = step.entry if step.whole and step.changes_record else None
        if entry is not None and entry.event in RESULTS and entry.reason is None:
            yield from _result(story, step, entry, claims)
        elif entry is not None and entry.event == "expired":
            yield from _end_of_the_email(story, step, entry)
        elif entry is not None and entry.event == "reclaimed":
            yield from _reclaim(story, step, entry)
        yield from _new_owners(story, step, run)
        claims.follow(step)


class _Claims:
    """The claims whose owner key went with its lease, by queue, with the record at the claim."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._held: dict[str, tuple[Ownership, Email | None]] = {}
        self.lost: dict[str, list[tuple[Ownership, Email | None]]] = {}

    def is_of(self, owner: Ownership, entry: LogEntry) -> bool:
        """Whether the owner wrote the entry, maybe under the id that it had before a lost lease.

        An entry has one worker's id, also if it ends tries that began under several.
        """
        pid = self._run.pids.get(owner.worker_id)
        same_process = pid is not None and pid == self._run.pids.get(entry.worker_id or "")
        return owner.worker_id == entry.worker_id or (len(entry.attempts) > 1 and same_process)

    def follow(self, step: Step) -> None:
        for queue, owner in step.before.owners.items():
            if step.after.owners.get(queue) != owner and queue not in step.jobs_put:
                self.lost.setdefault(queue, []).append(self._held[queue])
        for queue, owner in step.after.owners.items():
            if step.before.owners.get(queue) != owner:
                self._held[queue] = owner, step.after.record


def _result(story: Story, step: Step, entry: LogEntry, claims: _Claims) -> Iterator[Violation]:
    for queue in (attempt.queue for attempt in entry.attempts):
        owner = step.before.owners.get(queue)
        if queue in step.after.owners:
            yield broken(
                story, step, f"the result of queue {queue} left its owner key", "no owner key"
            )
        if owner is not None and claims.is_of(owner, entry):
            continue
        writer = f"worker {entry.worker_id} wrote a result of queue {queue}"
        if owner is not None:
            yield broken(story, step, f"{writer}, owned by {owner.worker_id}", "only the owner")
        elif not _stalled(step, queue, entry, claims):
            yield broken(
                story, step, f"{writer} without owning it", "the owner, or a stall's own result"
            )


def _stalled(step: Step, queue: str, entry: LogEntry, claims: _Claims) -> bool:
    """Whether the worker's lease ran out, and nobody has written to the queue since its claim."""
    now = step.before.record
    if queue not in step.before.jobs or now is None:
        return False
    return any(
        claims.is_of(owner, entry)
        and then is not None
        and then.queues[queue].tries == now.queues[queue].tries
        and _are_untouched(then, now, queue)
        for owner, then in claims.lost.get(queue, ())
    )


def _are_untouched(then: Email, now: Email, queue: str) -> bool:
    """Whether nobody has sent a queue's mail since. What comes from elsewhere does not count."""
    return all(
        _is_untouched(old, new)
        for old, new in zip(then.recipients, now.recipients, strict=True)
        if new.queue == queue
    )


def _is_untouched(old: Recipient, new: Recipient) -> bool:
    """Whether a recipient is as it was, but for an erasure, a late bounce or a complaint.

    A hold changes what is said of one that is not final. It sends nothing, and uses up no try.
    """
    if new.erased_at != old.erased_at:
        return True
    if not old.final and not new.final:
        return old.tries == new.tries
    if new.late and old.status == "delivered":
        return (new.tries, new.retried) == (old.tries, old.retried)
    return replace(old, complained_at=None) == replace(new, complained_at=None)


def _end_of_the_email(story: Story, step: Step, entry: LogEntry) -> Iterator[Violation]:
    for queue in (attempt.queue for attempt in entry.attempts):
        if queue in step.before.owners:
            yield broken(
                story,
                step,
                f"queue {queue} expired while {step.before.owners[queue].worker_id} owned it",
                "an end of a queue that nobody sends",
            )


def _reclaim(story: Story, step: Step, entry: LogEntry) -> Iterator[Violation]:
    for queue in (attempt.queue for attempt in entry.attempts):
        owner = step.before.owners.get(queue)
        if owner is None or owner.worker_id != entry.worker_id:
            yield broken(
                story,
                step,
                f"{entry.worker_id} took queue {queue} over without owning it",
                "the new owner writes it",
            )
        if entry.previous_worker_id == entry.worker_id:
            yield broken(story, step, "a worker took a job over from itself", "another worker")


def _new_owners(story: Story, step: Step, run: Run) -> Iterator[Violation]:
    for queue, owner in step.after.owners.items():
        earlier = step.before.owners.get(queue)
        if earlier == owner or not step.whole:
            continue
        if earlier is not None:
            yield broken(
                story,
                step,
                f"{owner.worker_id} became the owner of queue {queue}, {earlier.worker_id} was it",
                "a claim only where nobody owns the queue",
            )
        if queue not in step.before.jobs:
            yield broken(
                story, step, f"{owner.worker_id} claimed queue {queue} without a job", "a job"
            )
        if owner.lease != run.lease_ids.get(owner.worker_id, owner.lease) or not owner.lease:
            yield broken(
                story,
                step,
                f"the owner key of queue {queue} is not on its worker's lease",
                "the lease of the worker's check-in",
            )


RULE = Rule(
    "only-owner-writes",
    "Only the owner of a queue writes its results, and a claim is made where nobody owns it.",
    _check,
)
