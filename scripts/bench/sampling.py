"""Samples of a running Babygun: rates, latency, etcd's file, memory, early deletions."""

from __future__ import annotations

import array
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from scripts.bench.loadgen import Sink, percentile
from scripts.bench.measure import MIB
from scripts.bench.procstat import cpu_seconds, memory
from scripts.bench.systems.babygun import Babygun

_BLOCK = 65536  # e-mails read from the files of times at once


@dataclass(frozen=True)
class Sample:
    """``at``: seconds since the load began.

    Rates are e-mails per second since the last sample, latencies milliseconds of the e-mails that
    arrived since then, sizes MiB.
    """

    at: float
    accepted: int
    delivered: int
    accept_rate: float
    rate: float
    p50: float
    p99: float
    file: float
    in_use: float
    revision: int
    compacted: int  # the oldest revision that etcd still has
    etcd: float  # RSS, with the pages of its file
    etcd_anonymous: float
    api: float
    worker: float
    shed_contents: int
    shed_emails: int
    alarm: str
    # Microseconds per e-mail since the last sample. The sink's work never changes, so this shows
    # the machine's own speed.
    sink_cpu: float = 0.0


class Times:
    """Reads the two files of times while they are written."""

    def __init__(self, sent: Path, arrived: Path) -> None:
        self._sent, self._arrived = sent, arrived
        self._done = 0  # all e-mails before this one have arrived
        self._accepted_to = 0  # all e-mails before this one were answered
        self._until = 0

    def read(self) -> tuple[int, list[float]]:
        """How many e-mails were accepted, and the latencies of new arrivals.

        Accepted e-mails after the first unanswered one are not counted yet. A latency is in seconds
        from POST to arrival.
        """
        now, start, latencies, gap = time.monotonic_ns(), self._done, list[float](), False
        while True:
            sent, arrived = _read(self._sent, start, 2), _read(self._arrived, start, 1)
            for n, there in enumerate(arrived):
                if there > now or not there:
                    gap = True
                elif there > self._until:
                    latencies.append((there - sent[2 * n]) / 1e9)
                if not gap:
                    self._done = start + n + 1
            answered = sent[1::2]
            start += len(arrived)
            if len(arrived) < _BLOCK or not answered[-1]:
                break
        while (block := _read(self._sent, self._accepted_to, 2)) and block[1]:
            answered = block[1::2]
            self._accepted_to += next((n for n, at in enumerate(answered) if not at), len(answered))
        self._until = now
        return self._accepted_to, latencies


def _read(file: Path, start: int, width: int) -> array.array[int]:
    numbers = array.array("q")
    with file.open("rb") as opened:
        opened.seek(start * width * 8)
        numbers.frombytes(opened.read(_BLOCK * width * 8))
    return numbers


class Sampler:
    """Takes a :class:`Sample` at each call."""

    def __init__(self, running: Babygun, sink: Sink, times: Times) -> None:
        self._running, self._sink, self._times = running, sink, times
        self._began = time.monotonic()
        self._sink_cpu = cpu_seconds([sink.pid])
        self.samples: list[Sample] = []

    def take(self) -> Sample:
        accepted, latencies = self._times.read()
        arrived = self._sink.count()
        at = time.monotonic() - self._began
        before = self.samples[-1] if self.samples else None
        since = at - (before.at if before else 0.0) or 1e-9
        etcd = scraped(f"{self._running.endpoint}/metrics")
        worker: dict[str, float] = {}
        for url in self._running.worker_urls:
            for name, value in scraped(f"{url}/metrics").items():
                worker[name] = worker.get(name, 0.0) + value
        sink_before, self._sink_cpu = self._sink_cpu, cpu_seconds([self._sink.pid])
        delivered = arrived.distinct - (before.delivered if before else 0)
        roles = {role: memory(pids) for role, pids in self._running.roles.items()}
        sample = Sample(
            at=at,
            accepted=accepted,
            delivered=arrived.distinct,
            accept_rate=(accepted - (before.accepted if before else 0)) / since,
            rate=delivered / since,
            p50=percentile(latencies, 0.5) * 1000,
            p99=percentile(latencies, 0.99) * 1000,
            file=etcd["etcd_mvcc_db_total_size_in_bytes"] / MIB,
            in_use=etcd["etcd_mvcc_db_total_size_in_use_in_bytes"] / MIB,
            revision=int(etcd["etcd_debugging_mvcc_current_revision"]),
            compacted=int(etcd["etcd_debugging_mvcc_compact_revision"]),
            etcd=roles["etcd"].rss / MIB,
            etcd_anonymous=roles["etcd"].anonymous / MIB,
            api=roles["api"].pss / MIB,
            worker=roles["worker"].pss / MIB,
            shed_contents=int(worker.get('babygun_shed_total{kind="contents"}', 0)),
            shed_emails=int(worker.get('babygun_shed_total{kind="emails"}', 0)),
            alarm=alarm(self._running.endpoint),
            sink_cpu=(self._sink_cpu - sink_before) * 1e6 / max(1, delivered),
        )
        self.samples.append(sample)
        return sample


def scraped(url: str) -> dict[str, float]:
    """The numbers of a page of metrics, by their names with labels."""
    found = {}
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 (our own processes')
        for line in answer.read().decode().splitlines():
            name, _, value = line.rpartition(" ")
            if name and not line.startswith("#"):
                found[name] = float(value)
    return found


def alarm(endpoint: str) -> str:
    """The reason why etcd is unhealthy (``ALARM NOSPACE``), or empty."""
    try:
        with urllib.request.urlopen(f"{endpoint}/health", timeout=10) as answer:  # noqa: S310
            health = json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            health = json.loads(error.read() or b"{}")
    return str(health.get("reason", "")) if health.get("health") != "true" else ""
