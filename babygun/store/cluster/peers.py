"""What the live workers' keys tell of trouble: another routing than ours, jobs that none of them will send, clocks that differ. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from babygun.routing.routes import Routes
from babygun.runtime.metrics import OTHER
from babygun.store.emails.depth import Depth
from babygun.store.records import Worker

SKEW = 5.0  # seconds between two clocks that are worth a word


def other_routing(prefix: str, routes: Routes, workers: Sequence[Worker]) -> dict[str, str]:
    """By worker, how its queues differ from this process's. Workers that don't tell their queues, as older ones do not, are passed over."""
    mine = routes.fingerprints()
    found: dict[str, str] = {}
    for worker in workers:
        if not worker.queues or worker.queues == mine or not mine:
            continue
        who = f"worker {worker.id} on host {worker.hostname}"
        ways = [
            f"{who} sends queue {name} to another server than {routes.destinations[name].address},"
            " as this process does"
            for name in sorted(mine)
            if worker.queues.get(name, mine[name]) != mine[name]
        ]
        if not ways:
            only = [
                (who, "this process", sorted(set(worker.queues) - set(mine))),
                ("this process", who, sorted(set(mine) - set(worker.queues))),
            ]
            ways = [
                f"{has} has queue {', '.join(names)}, and {lacks} does not"
                for has, lacks, names in only
                if names
            ]
        found[worker.id] = (
            f"{'; '.join(ways)}: two clusters share the prefix {prefix}, or their settings differ"
        )
    return found


def unsent_queues(depth: Depth, workers: Sequence[Worker]) -> dict[str, str]:
    """By queue, what to say of jobs that no live worker sends. Nothing where some worker doesn't tell its queues."""
    known = {name for worker in workers for name in worker.queues}
    if not known or not all(worker.queues for worker in workers):
        return {}
    jobs: dict[str, int] = {}
    for (name, _), count in depth.jobs.items():
        if count and name not in known and name != OTHER:
            jobs[name] = jobs.get(name, 0) + count
    return {
        name: f"{count} {'job' if count == 1 else 'jobs'} of queue {name} can't go: no live worker sends it, so give it its relay back"
        for name, count in sorted(jobs.items())
    }


def wrong_clocks(workers: Sequence[Worker], now: datetime, lease_ttl: float) -> dict[str, str]:
    """By worker, how far its clock is from ours, as far as its check-ins tell: they are made at least every third of its lease."""
    found: dict[str, str] = {}
    for worker in workers:
        ahead = (worker.last_checkin - now).total_seconds()
        if ahead > SKEW:
            found[worker.id] = (
                f"the clock of worker {worker.id} on host {worker.hostname} is {duration(ahead)} ahead of this machine's"
            )
        elif -ahead > lease_ttl + SKEW:
            found[worker.id] = (
                f"worker {worker.id} on host {worker.hostname} is alive and checked in {duration(-ahead)} ago by its clock: that is behind this machine's"
            )
    return found


def wrong_clock(ahead: float) -> str:
    """What to say of this machine's clock, ``ahead`` seconds of etcd's; empty where they agree."""
    if abs(ahead) < SKEW:
        return ""
    way, effect = ("ahead of", "early") if ahead > 0 else ("behind", "late")
    return f"this machine's clock is {duration(abs(ahead))} {way} etcd's: scheduled e-mails, retries and the ends of tokens come that much too {effect}"


def duration(seconds: float) -> str:
    """``7 s``, ``3 min``, ``2 h``."""
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.0f} h"
    )
