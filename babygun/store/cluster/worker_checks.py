"""What workers' records show to be wrong: routing, settings, queues nobody sends, holds, clocks.

Pure. Each function answers with sentences for an operator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from babygun.routing.routes import Routes, sends
from babygun.routing.sites import ALL_MX, MX
from babygun.runtime.metric_types import OTHER
from babygun.store.emails.depth import Depth
from babygun.store.records import Hold, Worker

SKEW = 5.0  # seconds between two clocks that are reported
MOST_HELD = 20  # held sites that have a sentence of their own


def other_routing(prefix: str, routes: Routes, workers: Sequence[Worker]) -> dict[str, str]:
    """By worker, how its queues differ from this process's.

    A process with too many queues reports none, and is not compared.
    """
    mine = routes.fingerprints()
    found: dict[str, str] = {}
    for worker in workers:
        if not mine or not worker.queues or worker.queues == mine:
            continue
        who = f"worker {worker.id} on host {worker.hostname}"
        differences = [
            f"{who} sends queue {_shown(name)} to another server; this process sends it to"
            f" {routes.endpoint(name)}"
            for name in sorted(mine)
            if worker.queues.get(name, mine[name]) != mine[name]
        ]
        if not differences:
            only = [
                (who, "this process", sorted(set(worker.queues) - set(mine))),
                ("this process", who, sorted(set(mine) - set(worker.queues))),
            ]
            differences = [
                f"{has} has queue {', '.join(map(_shown, names))}, and {lacks} does not"
                for has, lacks, names in only
                if names
            ]
        found[worker.id] = (
            f"{'; '.join(differences)}: two clusters share the prefix {prefix},"
            " or their settings differ"
        )
    return found


def other_settings(workers: Sequence[Worker]) -> dict[str, str]:
    """By worker, which of the shared settings it has other than most workers of its version."""
    found: dict[str, str] = {}
    for version in sorted({each.version for each in workers}):
        alike = [each for each in workers if each.version == version]
        settings = Counter(tuple(sorted(each.settings.items())) for each in alike)
        usual = dict(settings.most_common(1)[0][0])
        most = next(each for each in alike if each.settings == usual)
        for worker in alike:
            differing = {name for name, _ in worker.settings.items() ^ usual.items()}
            if differing:
                found[worker.id] = (
                    f"worker {worker.id} on host {worker.hostname} has another"
                    f" {', '.join(sorted(differing))} than worker {most.id} on host"
                    f" {most.hostname}: give all workers the same settings"
                )
    return found


def _shown(name: str) -> str:
    return ALL_MX if name == MX else name  # all queues of domains


def unsent_queues(depth: Depth, workers: Sequence[Worker]) -> dict[str, str]:
    """By queue, how many jobs wait that no live worker sends.

    Nothing without a live worker, or where one has too many queues to report them.
    """
    if not workers or not all(worker.queues for worker in workers):
        return {}
    jobs: Counter[str] = Counter()
    for (name, _), count in depth.jobs.items():
        if count and name != OTHER and not any(sends(each.queues, name) for each in workers):
            jobs[name] += count
    return {
        name: f"{count} {'job' if count == 1 else 'jobs'} of queue {name} can't go:"
        " no live worker sends it, so add its destination again"
        for name, count in sorted(jobs.items())
    }


def too_few(expected: int, workers: Sequence[Worker]) -> str:
    """That fewer workers are alive than expected; empty if not so."""
    if not expected or len(workers) >= expected:
        return ""
    if not workers:
        return "no worker is alive: mail is accepted and waits until one runs"
    live = "1 worker is" if len(workers) == 1 else f"{len(workers)} workers are"
    return f"{live} alive, and expected_workers is {expected}"


def held_sites(holds: Sequence[Hold]) -> dict[str, str]:
    """By the name of a hold, that it is held, by whom and why, until when.

    Relays and the longest holds come first. Of many, some have a sentence each, the others one
    together: each domain's mail host may be held.
    """
    ordered = sorted(holds, key=lambda hold: (hold.site.startswith(MX), hold.since, hold.name))
    found = {hold.name: _held(hold) for hold in ordered[:MOST_HELD]}
    if len(ordered) > MOST_HELD:
        found[""] = "further sites are held: GET /sites shows each of them"
    return found


def _held(hold: Hold) -> str:
    what = f"mail of {hold.sender} to {hold.site}" if hold.sender else hold.site
    since = f"{what} is held since {_minute(hold.since)}"
    if hold.by_operator:
        return (
            f"{since} by {hold.set_by}, until {_minute(hold.until)}: {hold.status_reason!r}; none"
            " of it is sent before"
        )
    code = " ".join(str(each) for each in (hold.status_code, hold.enhanced_code) if each)
    words = " ".join(each for each in (code, hold.status_reason) if each)
    says = "the server says " if hold.status_code else ""
    return f"{since} ({hold.reason}): {says}{words!r}; it waits until a probe gets through"


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def clocks_ahead(workers: Sequence[Worker], now: datetime) -> dict[str, str]:
    """By worker, how far its clock is ahead of ours: its last check-in is in our future."""
    return {
        worker.id: f"the clock of worker {worker.id} on host {worker.hostname} is"
        f" {duration(ahead)} ahead of this machine's"
        for worker in workers
        if (ahead := (worker.last_checkin - now).total_seconds()) > SKEW
    }


def clock_behind(worker: Worker, behind: float) -> str:
    """What is wrong with the clock of a worker that has just checked in; empty for nothing."""
    if behind <= SKEW:
        return ""
    return (
        f"the clock of worker {worker.id} on host {worker.hostname} is"
        f" {duration(behind)} behind this machine's"
    )


def wrong_clock(ahead: float) -> str:
    """What is wrong with this machine's clock, ``ahead`` seconds of etcd's; empty for nothing."""
    if abs(ahead) < SKEW:
        return ""
    way, effect = ("ahead of", "early") if ahead > 0 else ("behind", "late")
    return (
        f"this machine's clock is {duration(abs(ahead))} {way} etcd's:"
        f" scheduled e-mails, retries and the ends of tokens come that much too {effect}"
    )


def duration(seconds: float) -> str:
    """``7 s``, ``3 min``, ``2 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
