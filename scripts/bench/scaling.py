"""Babygun with more processes, a long backlog, more recipients, larger and signed e-mails, batches.

A part is a few cases that differ in one thing, to be compared with each other. Each case is
measured on a Babygun that is started for it, empty.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from babygun.dev.etcd.binary import EtcdBinary
from babygun.email.sending_domains import DkimAlgorithm
from scripts.bench.loadgen import Arrived, Sent, Sink, arrival_times
from scripts.bench.measure import MIB, Measured, Numbers, measure
from scripts.bench.processes import Stage
from scripts.bench.procstat import Meter, largest_peak
from scripts.bench.sending_domain import sealing_key, sign
from scripts.bench.systems.babygun import CONNECTIONS, Babygun

Say = Callable[[str], None]
_FIRST = 300  # e-mails of a first, rough measurement
_BATCHED = 1000  # e-mails in requests at once, in four batches at least
_UNDER_WAY = 64 * MIB  # of requests at once, far less than the setting api_memory


@dataclass(frozen=True)
class Case:
    """One thing to measure. Without workers nothing is delivered, so the acceptance counts.

    ``dkim``: the algorithms by which messages are signed. ``return_path``: of the relay's route.
    """

    label: str
    apis: int = 1
    workers: int = 1
    recipients: int = 1
    size: int = 1024
    batch: int = 1
    dkim: tuple[DkimAlgorithm, ...] = ()
    return_path: str = ""

    @property
    def connections(self) -> int:
        """Of the load generator."""
        return max(min(CONNECTIONS, _UNDER_WAY // self.size, _BATCHED // self.batch), 4)


PARTS: dict[str, tuple[Case, ...]] = {
    "processes": tuple(Case(f"{n} API, {n} worker", apis=n, workers=n) for n in (1, 2, 4)),
    "recipients": tuple(
        Case(f"{n} recipients" if n > 1 else "1 recipient", recipients=n) for n in (1, 10, 50)
    ),
    "sizes": tuple(
        Case(label, size=size)
        for label, size in (("1 KB", 1024), ("100 KB", 100 << 10), ("2 MB", 2 << 20))
    ),
    "signatures": (
        Case("not signed"),
        Case("RSA-2048", dkim=("rsa2048",)),
        Case("and Ed25519", dkim=("rsa2048", "ed25519")),
    ),
    "return-paths": tuple(
        Case(f"{n} to, {mode}", recipients=n, return_path=mode)
        for n in (1, 10)
        for mode in ("off", "queue", "recipient")
    ),
    "batches": tuple(
        Case(f"batches of {n}" if n > 1 else "one by one", batch=n, workers=0)
        for n in (1, 10, 100, 1000)
    ),
}
BACKLOG = "backlog"


class Scaling:
    """``seconds``: the rough length of one measurement."""

    def __init__(self, stage: Stage, etcd: EtcdBinary, say: Say, *, seconds: float) -> None:
        self._stage, self._etcd, self._say, self._seconds = stage, etcd, say, seconds
        self._sink, self._numbers = Sink(stage), Numbers()

    def part(self, name: str, rounds: int) -> list[dict[str, Any]]:
        """The cases of a part, each with its medians."""
        cases = PARTS[name]
        found: list[list[Measured]] = [[] for _ in cases]
        for _ in range(rounds):
            for case, its in zip(cases, found, strict=True):
                done = self._case(case)
                its.append(done)
                self._say(
                    f"{name}: {case.label:18} {done.rate or done.accept_rate:8,.0f} e-mails/s"
                    f"   {done.cpu_sum:7,.0f} µs of CPU each"
                )
        return [
            {
                "label": case.label,
                "case": vars(case),
                "summary": middle(its),
                "rounds": [each.as_dict() for each in its],
            }
            for case, its in zip(cases, found, strict=True)
        ]

    def backlog(self, count: int) -> dict[str, Any]:
        """Accepts ``count`` e-mails without a worker, then measures how one delivers them."""
        babygun = Babygun(self._stage, self._sink.port, self._etcd).start(workers=0)
        try:
            mail = self._numbers.mail(count)
            times = self._stage.folder / "arrived"
            accepted = babygun.load(mail, batch=100, connections=4).wait()
            self._say(f"backlog: {count:,} e-mails accepted in {accepted.seconds:.0f} s")
            self._sink.expect(mail, times)
            babygun.start_workers(1)
            worker = babygun.roles["worker"]
            with Meter(babygun.roles) as meter:
                arrived = self._sink.wait(poll=0.2, seen=self._print_progress(count))
            at = sorted(arrival_times(times))
            rates = {
                "start": _rate(at, 0.02, 0.2),
                "middle": _rate(at, 0.4, 0.6),
                "end": _rate(at, 0.8, 0.98),
            }
            costs = meter.costs
            result = {
                "count": count,
                "accept_rate": count / accepted.seconds,
                "seconds": arrived.last - arrived.first,
                "rate": count / (arrived.last - arrived.first),
                "rates": rates,
                "worker_peak_rss": largest_peak(worker) / MIB,
                "peak_rss": {role: cost.peak_rss / MIB for role, cost in costs.items()},
                "cpu": {role: cost.cpu * 1e6 / count for role, cost in costs.items()},
                "duplicates": arrived.messages - arrived.distinct - arrived.stray,
            }
            self._say(
                f"backlog: drained in {result['seconds']:.0f} s:"
                f" {rates['start']:,.0f}/s at the start, {rates['end']:,.0f}/s at the end;"
                f" worker {result['worker_peak_rss']:.0f} MiB"
            )
            return result
        finally:
            babygun.stop()

    def _case(self, case: Case) -> Measured:
        settings = sealing_key() if case.dkim or case.return_path else {}
        if case.return_path:
            relay = f"smtp://127.0.0.1:{self._sink.port}"
            route = {"url": relay, "return_path": case.return_path}
            settings |= {
                "BABYGUN_RELAY_URL": "",
                "BABYGUN_ROUTES": json.dumps({"default": route}),
            }
        babygun = Babygun(self._stage, self._sink.port, self._etcd, settings=settings).start(
            apis=case.apis, workers=case.workers
        )
        try:
            if case.dkim or case.return_path:
                asyncio.run(sign(babygun.endpoint, settings, case.dkim))
            first = max(min(_FIRST, _UNDER_WAY // case.size), 4 * case.batch)
            done = self._measure(babygun, case, first)
            done = self._measure(babygun, case, self._fills(done, 0.25, case))
            return self._measure(babygun, case, self._fills(done, 1.0, case))
        finally:
            babygun.stop()

    def _fills(self, done: Measured, part: float, case: Case) -> int:
        """How many e-mails fill this part of the time, by the last measurement."""
        count = int((done.rate or done.accept_rate) * self._seconds * part)
        return max(count - count % case.batch, 20, case.batch)

    def _measure(self, babygun: Babygun, case: Case, count: int) -> Measured:
        mail = self._numbers.mail(count, size=case.size, recipients=case.recipients)

        def send(times: object) -> Sent:
            return babygun.load(mail, batch=case.batch, connections=case.connections).wait()

        done = measure(
            babygun, mail, self._sink if case.workers else None, self._stage.folder, send=send
        )
        largest = {role: largest_peak(roots) / MIB for role, roots in babygun.roles.items()}
        return replace(done, memory=largest)

    def _print_progress(self, count: int) -> Callable[[Arrived], None]:
        fifths = 0

        def seen(arrived: Arrived) -> None:
            nonlocal fifths
            if arrived.distinct * 5 // count > fifths:
                fifths = arrived.distinct * 5 // count
                self._say(f"backlog: {arrived.distinct:,} of {count:,} delivered")

        return seen


def _rate(times: Sequence[float], begin: float, end: float) -> float:
    """E-mails per second between two parts of all arrivals (0.8 to 0.98, say)."""
    first, last = int(len(times) * begin), int(len(times) * end) - 1
    return (last - first) / (times[last] - times[first])


def middle(rounds: Sequence[Measured]) -> dict[str, Any]:
    """The medians. ``memory``: the largest single process of each role."""
    return {
        "count": rounds[0].count,
        "accept_rate": median(each.accept_rate for each in rounds),
        "rate": median(each.rate for each in rounds),
        "cpu": {role: median(each.cpu[role] for each in rounds) for role in rounds[0].cpu},
        "cpu_sum": median(each.cpu_sum for each in rounds),
        "generator_cpu": median(each.generator_cpu for each in rounds),
        "sink_cpu": median(each.sink_cpu for each in rounds),
        "others_cores": median(each.others_cores for each in rounds),
        "memory": {role: max(each.memory[role] for each in rounds) for role in rounds[0].memory},
        "duplicates": sum(each.duplicates for each in rounds),
    }
