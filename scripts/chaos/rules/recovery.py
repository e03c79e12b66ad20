"""A worker that is killed leaves nothing waiting for longer than its lease, and a little."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from babygun.email.model import MX
from scripts.chaos.history import ProcessEnded
from scripts.chaos.mail_hosts import LIMITED_DOMAINS
from scripts.chaos.rules import Rule, Run, Violation
from scripts.chaos.story import story

# Their site takes so few messages a second that a job may wait for its turn.
_SLOW = frozenset(MX + domain for domain in LIMITED_DOMAINS)
MORE = 2.0  # s, beyond the lease's time
_OTHERS = frozenset({"etcd", "worker"})  # what has to work for a takeover


@dataclass(frozen=True)
class Recovery:
    """How long a killed worker's job took to be claimed again.

    ``alone``: no other fault met it, and its site takes mail as fast as it comes.
    """

    email_id: str
    killed: float
    seconds: float
    alone: bool


def recoveries(run: Run) -> Iterator[Recovery]:
    """One for each queue that a worker owned when it was killed, and that was claimed again."""
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
                    yield Recovery(email_id, kill.at, seconds, alone)


def _alone(run: Run, kill: ProcessEnded, until: float) -> bool:
    """Whether nothing else that a takeover needs was broken or busy, but for the kill's own."""
    spans = [
        span
        for span in run.faults
        if span.meets(kill.at - run.lease_ttl, until) and run.touches(span.what) & _OTHERS
    ]
    return len(spans) <= 1 and not run.was_busy(kill.at, until)


def _check(run: Run) -> Iterator[Violation]:
    most = run.lease_ttl + MORE
    for each in recoveries(run):
        if each.alone and each.seconds > most:
            yield Violation(
                each.email_id,
                each.killed,
                f"a killed worker's job was claimed again after {each.seconds:.1f} s",
                f"within {most:g} s: its lease's time and {MORE:g} s",
            )


RULE = Rule(
    "recovers-in-time",
    "What a killed worker owned is claimed again within its lease's time and 2 s.",
    of_run=_check,
)
