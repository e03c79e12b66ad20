"""One measurement: e-mails are sent to a running system and, if it delivers, reach the sink."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scripts.bench.loadgen import Arrived, Mail, Sent, Sink, arrival_times, percentile, sent_times
from scripts.bench.processes import BenchError
from scripts.bench.procstat import Meter, busy_seconds
from scripts.bench.systems import Running

MIB = 1 << 20


@dataclass(frozen=True)
class Measured:
    """CPU in µs per e-mail, memory in MiB, latencies in ms, rates in e-mails per second."""

    count: int
    accept_rate: float
    # From the first e-mail sent to the last one's arrival; 0 if nothing is delivered.
    rate: float
    cpu: Mapping[str, float]  # by role
    generator_cpu: float  # of the load generator, if it is no role
    sink_cpu: float
    others_cores: float  # cores that other programs used, on average
    memory: Mapping[str, float]  # by role, the peak
    # By role, since the processes' start. Each process counts its shared pages.
    peak_rss: Mapping[str, float]
    refused: int
    duplicates: int
    stray: int  # e-mails of an earlier measurement that arrived in this one
    # p50, p99, max: from sent to arrived. accepted_p50, accepted_p99: from sent to acknowledged.
    # Empty if not measured.
    latency: Mapping[str, float]

    @property
    def cpu_sum(self) -> float:
        return sum(self.cpu.values())

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Numbers:
    """Gives each e-mail a number of its own.

    So a late duplicate of an earlier measurement is not counted in a later one.
    """

    def __init__(self) -> None:
        self._next = 0

    @property
    def used(self) -> int:
        """How many numbers are given."""
        return self._next

    def mail(self, count: int, **shape: Any) -> Mail:
        first, self._next = self._next, self._next + count
        return Mail(first, count, **shape)


def measure(
    running: Running,
    mail: Mail,
    sink: Sink | None,
    folder: Path,
    *,
    rate: float = 0,
    latency: bool = False,
    send: Callable[[Path | None], Sent] | None = None,
) -> Measured:
    """Sends e-mails and measures.

    ``sink``: where they arrive, None if nothing is delivered. ``rate``: e-mails per second, 0 for
    as fast as possible. ``latency``: measure it too. ``send``: how to send, instead of
    ``running.send``. Raises BenchError.
    """
    sent_file, arrived_file = (folder / "sent", folder / "arrived") if latency else (None, None)
    roles: dict[str, Sequence[int]] = dict(running.roles)
    if sink:
        sink.expect(mail, arrived_file)
        roles["sink"] = [sink.pid]
    busy, own, began, arrived = busy_seconds(), time.process_time(), time.monotonic(), None
    with Meter(roles) as meter:
        sent = send(sent_file) if send else running.send(mail, rate=rate, times=sent_file)
        if sink:
            arrived = sink.wait(recipients=mail.count * mail.recipients)
    elapsed, busy, own = time.monotonic() - began, busy_seconds() - busy, time.process_time() - own
    if sent.refused:
        raise BenchError(f"{sent.refused} of {mail.count} e-mails were refused")
    costs = meter.costs
    per_mail = {role: cost.cpu * 1e6 / mail.count for role, cost in costs.items()}
    ours = sum(cost.cpu for cost in costs.values()) + sent.cpu + own
    times: dict[str, float] = {}
    if latency and sent_file and arrived_file:
        sent_at = sent_times(sent_file)
        times = _spread([done - at for at, done in sent_at], "accepted_")
        if sink:
            pairs = zip(sent_at, arrival_times(arrived_file), strict=True)
            times |= _spread([there - at for (at, _), there in pairs])
    return Measured(
        count=mail.count,
        accept_rate=mail.count / sent.seconds,
        rate=mail.count / (arrived.last - sent.start) if arrived else 0,
        cpu={role: value for role, value in per_mail.items() if role != "sink"},
        generator_cpu=sent.cpu * 1e6 / mail.count,
        sink_cpu=per_mail.get("sink", 0),
        others_cores=max(busy - ours, 0) / elapsed,
        memory={role: cost.peak / MIB for role, cost in costs.items() if role != "sink"},
        peak_rss={role: cost.peak_rss / MIB for role, cost in costs.items() if role != "sink"},
        refused=sent.refused,
        duplicates=_duplicates(arrived, mail) if arrived else 0,
        stray=arrived.stray if arrived else 0,
        latency=times,
    )


def _duplicates(arrived: Arrived, mail: Mail) -> int:
    """An e-mail may have come in a copy for each recipient."""
    return arrived.recipients // mail.recipients - mail.count - arrived.stray


def _spread(seconds: Sequence[float], prefix: str = "") -> dict[str, float]:
    return {
        f"{prefix}{name}": percentile(seconds, part) * 1000
        for name, part in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    }
