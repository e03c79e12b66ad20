"""A worker that is killed leaves nothing waiting for longer than its lease, and a little."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from babygun.email.model import MX
from babygun.store.keys import JobRef
from scripts.chaos.history import KEYS, ProcessEnded, Revision
from scripts.chaos.mail_hosts import LIMITED_DOMAINS
from scripts.chaos.rules import Rule, Run, Violation
from scripts.chaos.story import story

# Their site takes so few messages a second that a job may wait for its turn.
_SLOW = frozenset(MX + domain for domain in LIMITED_DOMAINS)
MORE = 2.0  # s, beyond the lease's time
TURN = 0.02  # s, beyond that for each other job of the queue that waits for its turn too
_OTHERS = frozenset({"etcd", "worker"})  # what has to work for a takeover


@dataclass(frozen=True)
class Recovery:
    """How long a killed worker's job took to be claimed again.

    ``freed``: the revision that ended its owner. ``waiting``: jobs of its queue that nobody owned
    then, without it. ``alone``: no other fault met it, and its site takes mail as fast as it comes.
    """

    ref: JobRef
    killed: float
    seconds: float
    freed: int
    alone: bool
    waiting: int = 0

    def most(self, lease_ttl: float) -> float:
        """How many seconds it may take."""
        return lease_ttl + MORE + TURN * self.waiting


@lru_cache(maxsize=1)  # the figures ask for them, and the rule: it reads the whole history
def recoveries(run: Run) -> tuple[Recovery, ...]:
    """One for each queue that a worker owned when it was killed, and that was claimed again."""
    return tuple(_with_waiting(run, _recoveries(run)))


def _recoveries(run: Run) -> Iterator[Recovery]:
    kills = [end for end in run.ends.values() if end.how == "SIGKILL"]
    if not kills:
        return
    by_pid = {kill.pid: kill for kill in kills}
    for email_id in run.owned_when_killed:
        steps = story(run.history, email_id).steps
        for index, step in enumerate(steps):
            for queue, owner in step.before.owners.items():
                kill = by_pid.get(run.pids.get(owner.worker_id, 0))
                if kill is None or queue in step.after.owners or step.at < kill.at:
                    continue
                again = next((s for s in steps[index:] if queue in s.after.owners), None)
                if again is not None and not step.changes_record:
                    seconds = again.at - kill.at
                    alone = queue not in _SLOW and _alone(run, kill, again.at)
                    ref = JobRef(email_id, queue)
                    yield Recovery(ref, kill.at, seconds, step.revision, alone)


def _alone(run: Run, kill: ProcessEnded, until: float) -> bool:
    """Whether nothing else that a takeover needs was broken or busy, but for the kill's own."""
    spans = [
        span
        for span in run.faults
        if span.meets(kill.at - run.lease_ttl, until) and run.touches(span.what) & _OTHERS
    ]
    return len(spans) <= 1 and not run.was_busy(kill.at, until)


def _with_waiting(run: Run, found: Iterable[Recovery]) -> Iterator[Recovery]:
    """Each with the number of jobs that waited in its queue when it was freed."""
    left = sorted(found, key=lambda each: each.freed, reverse=True)
    jobs: dict[str, set[JobRef]] = {}
    owned = set[JobRef]()
    for event in run.history.events(Revision):
        while left and event.revision > left[-1].freed:
            each = left.pop()
            line = jobs.get(each.ref.queue, set()) - owned - {each.ref}
            yield replace(each, waiting=len(line))
        if not left:
            return
        if event.key.startswith(KEYS.jobs):
            ref = KEYS.parse_job(event.key)
            of_queue = jobs.setdefault(ref.queue, set())
            (of_queue.discard if event.gone else of_queue.add)(ref)
        elif event.key.startswith(KEYS.owners):
            ref = KEYS.parse_owner(event.key)
            (owned.discard if event.gone else owned.add)(ref)


def _check(run: Run) -> Iterator[Violation]:
    for each in recoveries(run):
        most = each.most(run.lease_ttl)
        if each.alone and each.seconds > most:
            yield Violation(
                each.ref.email_id,
                each.killed,
                f"a killed worker's job was claimed again after {each.seconds:.1f} s",
                f"within {most:g} s: its lease's time, {MORE:g} s, and {TURN:g} s for each of"
                f" {each.waiting} others of its queue",
            )


RULE = Rule(
    "recovers-in-time",
    "What a killed worker owned is claimed again within its lease's time and 2 s. Each other job"
    " that waits in its queue adds 20 ms.",
    of_run=_check,
)
