"""Babygun beside other systems: the same e-mails, on the same machine, in the same hour.

Each round measures all systems in turn, so that a change of the machine affects all of them. A
system is started empty, twice: once without delivery, to measure the acceptance; then with
delivery, to measure the way from the sender to the sink. That is measured at full speed, and at a
tenth of it for the latency. A warm-up comes before each measurement. It also shows how many
e-mails fill the time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from scripts.bench.loadgen import Mail, Sent, Sink
from scripts.bench.measure import Measured, Numbers, measure
from scripts.bench.processes import BenchError, Stage, Unavailable
from scripts.bench.systems import Kind, Running
from scripts.bench.systems.babygun import CONNECTIONS, Babygun, BabygunKind
from scripts.bench.systems.bullmq import BullMqKind
from scripts.bench.systems.celery import CeleryKind
from scripts.bench.systems.postfix import PostfixKind

Say = Callable[[str], None]
KINDS: tuple[Callable[[], Kind], ...] = (BabygunKind, PostfixKind, CeleryKind, BullMqKind)
BATCH = 100  # e-mails in one call
_BATCHES_AT_ONCE = 10
LIGHT = 0.1  # of the highest rate: the load when latency is measured
_FIRST = 500  # e-mails of a first, rough measurement
# The part of the seconds that each measurement takes.
_PARTS = {"warm-up": 0.25, "accept": 0.5, "deliver": 1.0, "light": 0.75}


@dataclass(frozen=True)
class Round:
    """The measurements of one system in one round."""

    accept: Measured
    deliver: Measured
    light: Measured
    batched: Measured | None = None  # acceptance in batches of BATCH
    spread: Measured | None = None  # acceptance with an API process per core


class Comparison:
    """``seconds``: the rough length of one measurement of the delivery.

    ``count``: a fixed number of e-mails instead.
    """

    def __init__(self, stage: Stage, say: Say, *, seconds: float, count: int | None = None) -> None:
        self._stage, self._say, self._seconds, self._count = stage, say, seconds, count
        self._sink, self._numbers = Sink(stage), Numbers()
        self._rates: dict[tuple[str, str], float] = {}  # by system and part

    def run(
        self, kinds: Sequence[Kind], rounds: int, within: float
    ) -> tuple[dict[str, list[Round]], dict[str, str]]:
        """The rounds of each system by its name, and the reasons of systems that failed.

        No round begins that would end after ``within`` seconds.
        """
        found: dict[str, list[Round]] = {kind.name: [] for kind in kinds}
        failed: dict[str, str] = {}
        began = time.monotonic()
        for number in range(1, rounds + 1):
            if (so_far := time.monotonic() - began) * number / max(number - 1, 1) > within:
                self._say(
                    f"stopping after {number - 1} of {rounds} rounds, which took {so_far:.0f} s:"
                    " the machine is slow or busy"
                )
                break
            for kind in kinds:
                if kind.name in failed:
                    continue
                try:
                    done = self._round(kind)
                except BenchError as error:
                    failed[kind.name] = str(error)
                    found.pop(kind.name)
                    self._say(f"{kind.name} failed and is left out: {error}")
                    continue
                found[kind.name].append(done)
                self._say(f"round {number} of {rounds}: {kind.name:8} {_line(done)}")
        return found, failed

    def _round(self, kind: Kind) -> Round:
        running = kind.start(self._stage, self._sink.port, deliver=False)
        try:
            count = self._warmed_up(kind, running, "accept", None)
            accept = self._measure(running, count, None)
            batched = self._batched(running, count) if isinstance(running, Babygun) else None
        finally:
            running.stop()
        running = kind.start(self._stage, self._sink.port, deliver=True)
        try:
            count = self._warmed_up(kind, running, "deliver", self._sink)
            deliver = self._measure(running, count, self._sink)
            rate = deliver.rate * LIGHT
            light = self._measure(
                running,
                max(int(rate * self._seconds * _PARTS["light"]), 50),
                self._sink,
                rate=rate,
                latency=True,
            )
        finally:
            running.stop()
        spread = self._spread(kind, accept) if isinstance(kind, BabygunKind) else None
        return Round(accept, deliver, light, batched, spread)

    def _spread(self, kind: BabygunKind, one: Measured) -> Measured | None:
        """Acceptance with an API process per core. ``one``: with one API process."""
        cores = len(os.sched_getaffinity(0))
        if cores == 1:
            return None
        babygun = Babygun(self._stage, self._sink.port, kind.etcd).start(apis=cores, workers=0)
        try:
            for count in (one.count // 2, one.count):
                mail = self._numbers.mail(count)
                done = measure(
                    babygun,
                    mail,
                    None,
                    self._stage.folder,
                    send=partial(self._by_all, babygun, mail, cores),
                )
            return done
        finally:
            babygun.stop()

    def _batched(self, babygun: Babygun, one_by_one: int) -> Measured:
        """Acceptance in batches.

        ``one_by_one``: how many e-mails filled the time singly. In batches three times as many do.
        """
        mail = self._numbers.mail(3 * max(one_by_one // BATCH, 1) * BATCH)

        def send(_: object) -> Sent:
            return babygun.load(mail, batch=BATCH, connections=_BATCHES_AT_ONCE).wait()

        return measure(babygun, mail, None, self._stage.folder, send=send)

    def _by_all(self, babygun: Babygun, mail: Mail, processes: int, _: object) -> Sent:
        """Sends with as many connections per process as to a single process.

        The kernel spreads connections at random; more of them are spread more evenly.
        """
        return babygun.load(mail, connections=CONNECTIONS * processes).wait()

    def _warmed_up(self, kind: Kind, running: Running, part: str, sink: Sink | None) -> int:
        """Warms up; returns how many e-mails fill this part's time."""
        rate = self._rates.get((kind.name, part))
        if self._count:
            self._measure(running, self._count, sink)
            return self._count
        if rate is None:
            rate = _speed(self._measure(running, _FIRST, sink))
        done = self._measure(
            running, max(int(rate * self._seconds * _PARTS["warm-up"]), _FIRST), sink
        )
        rate = self._rates[kind.name, part] = _speed(done)
        return max(int(rate * self._seconds * _PARTS[part]), _FIRST)

    def _measure(
        self,
        running: Running,
        count: int,
        sink: Sink | None,
        *,
        rate: float = 0,
        latency: bool = False,
    ) -> Measured:
        return measure(
            running, self._numbers.mail(count), sink, self._stage.folder, rate=rate, latency=latency
        )


def _line(done: Round) -> str:
    """A round for a person who watches."""
    latency = done.light.latency
    return (
        f"accept {done.accept.accept_rate:7,.0f}/s   end to end {done.deliver.rate:7,.0f}/s"
        f"   {done.deliver.cpu_sum:5,.0f} µs of CPU each"
        f"   p50 {latency['p50']:.1f} ms   p99 {latency['p99']:.1f} ms"
    )


def _speed(done: Measured) -> float:
    return done.rate or done.accept_rate


def prepared(wanted: Sequence[str], say: Say) -> tuple[list[Kind], dict[str, str]]:
    """The systems that can be started here, and by name, what the others lack.

    ``wanted``: names in lower case; empty for all.
    """
    kinds: list[Kind] = []
    missing: dict[str, str] = {}
    for kind in (make() for make in KINDS):
        if wanted and kind.name.lower() not in wanted:
            continue
        try:
            kind.prepare(say)
        except Unavailable as reason:
            missing[kind.name] = str(reason)
            say(f"{kind.name} is skipped: {reason}")
        else:
            kinds.append(kind)
    return kinds, missing


def summary(rounds: Sequence[Round]) -> dict[str, Any]:
    """The medians of all rounds, for the table."""
    deliver = [each.deliver for each in rounds]
    return {
        "accept_rate": median(each.accept.accept_rate for each in rounds),
        "rate": median(each.rate for each in deliver),
        "cpu": {role: median(each.cpu[role] for each in deliver) for role in deliver[0].cpu},
        "cpu_sum": median(each.cpu_sum for each in deliver),
        "accept_cpu": {
            role: median(each.accept.cpu[role] for each in rounds) for role in rounds[0].accept.cpu
        },
        "generator_cpu": median(each.generator_cpu for each in deliver),
        "sink_cpu": median(each.sink_cpu for each in deliver),
        "others_cores": median(each.others_cores for each in deliver),
        "memory": {role: max(each.memory[role] for each in deliver) for role in deliver[0].memory},
        "peak_rss": {
            role: max(each.peak_rss[role] for each in deliver) for role in deliver[0].peak_rss
        },
        "light_rate": median(each.light.rate for each in rounds),
        "latency": {
            name: median(each.light.latency[name] for each in rounds)
            for name in rounds[0].light.latency
        },
        "duplicates": sum(each.deliver.duplicates + each.light.duplicates for each in rounds),
        **_acceptance("batch", [each.batched for each in rounds if each.batched is not None]),
        **_acceptance("spread", [each.spread for each in rounds if each.spread is not None]),
    }


def _acceptance(name: str, rounds: Sequence[Measured]) -> dict[str, Any]:
    """The medians of another way of acceptance, if it was measured."""
    if not rounds:
        return {}
    return {
        f"{name}_rate": median(each.accept_rate for each in rounds),
        f"{name}_cpu": {role: median(each.cpu[role] for each in rounds) for role in rounds[0].cpu},
    }


def ratios(rounds: Sequence[Round], others: Sequence[Round]) -> dict[str, float]:
    """These rates as multiples of the others': the medians of each round's ratio.

    Systems of one round met the same state of the machine.
    """
    pairs = list(zip(rounds, others, strict=True))
    batched = [
        one.batched.accept_rate / other.accept.accept_rate
        for one, other in pairs
        if one.batched is not None
    ]
    spread = [
        one.spread.accept_rate / other.accept.accept_rate
        for one, other in pairs
        if one.spread is not None
    ]
    return {
        **({"batch": median(batched)} if batched else {}),
        **({"spread": median(spread)} if spread else {}),
        "accept": median(one.accept.accept_rate / other.accept.accept_rate for one, other in pairs),
        "rate": median(one.deliver.rate / other.deliver.rate for one, other in pairs),
    }
