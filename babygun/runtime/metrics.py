"""Every metric, in one table: its type, name, labels, who has it, and what it says. docs/metrics.md is made from it (:func:`markdown`).

What happens is counted where it happens; what is (depths, connections) is read when somebody scrapes, into a :class:`Reading`.
Counts are this process's own, since its start. The hot paths count by e-mail or by RPC, never by key, on children that one look
into a dict finds: ``EMAILS_ENDED["failed"].inc()``, ``HTTP_REQUESTS["GET", "/emails", "200"].inc()``. They are plain numbers without a
lock, which the event loop's thread alone may change.
"""

from __future__ import annotations

import asyncio
import hmac
import operator
import platform
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal, NamedTuple, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from babygun import __version__

Role = Literal["api", "worker"]
Labels = str | tuple[str, ...]
Kind = TypeVar("Kind")

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
# The label of what has no label of its own. No queue and no path can be called so.
OTHER = "_other"
MOST_QUEUES = 100  # queues that have a label of their own in one process


class Row(NamedTuple):
    """One metric of the table. ``roles``: which processes have it."""

    name: str
    type: str
    labels: tuple[str, ...]
    roles: tuple[Role, ...]
    help: str


class Counter:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1) -> None:
        self.value += amount

    def show(self, family: CounterMetricFamily, labels: Sequence[str]) -> None:
        """Adds it to what a scrape collects."""
        family.add_metric(labels, self.value)


class Histogram:
    """How many values fell between which bounds, and their sum."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def show(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """Adds its buckets, each with what is below it, to what a scrape collects."""
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        family.add_metric(
            labels, list(zip(bounds, accumulate(self._counts), strict=True)), self.sum
        )


class FirstLabels(dict[str, str]):
    """The labels of values that may be many: the first ``most`` are their own, the rest OTHER."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __missing__(self, value: str) -> str:
        if len(self) >= self._most:
            return OTHER
        self[value] = value
        return value


QUEUE_LABELS = FirstLabels(MOST_QUEUES)


class ByLabel(dict[Labels, Kind]):
    """The children of a metric, by their labels' values; one is made when it is first asked for.

    ``queues``: the first label is a queue, which :data:`QUEUE_LABELS` bounds.
    """

    def __init__(self, make: Callable[[tuple[str, ...]], Kind], *, queues: bool = False) -> None:
        super().__init__()
        self._make, self._queues = make, queues

    def __missing__(self, key: Labels) -> Kind:
        bounded = _with_queue_label(key) if self._queues else key
        if bounded != key:
            return self[bounded]
        child = self[key] = self._make(_labels(key))
        return child


def _labels(key: Labels) -> tuple[str, ...]:
    return (key,) if isinstance(key, str) else key


def _with_queue_label(key: Labels) -> Labels:
    if isinstance(key, str):
        return QUEUE_LABELS[key]
    return (QUEUE_LABELS[key[0]], *key[1:])


def _has_queue(labels: tuple[str, ...]) -> bool:
    return labels[:1] == ("queue",)


class _Children(Collector):
    """The counters or histograms of a row; ``family``: of which kind they show themselves as."""

    def __init__(
        self,
        row: Row,
        family: Callable[..., Any],
        children: Mapping[Labels, Counter] | Mapping[Labels, Histogram],
    ) -> None:
        self._row, self._family, self._children = row, family, children

    def collect(self) -> Iterable[Metric]:
        family = self._family(self._row.name, self._row.help, labels=self._row.labels)
        for key, child in self._children.items():
            child.show(family, _labels(key))
        return [family]


class Reading(Collector):
    """A gauge that is read for each scrape. What is not known then is absent, and never an old value or a zero.

    ``combine``: makes one value of those of the queues that have no label of their own.
    """

    def __init__(self, row: Row, combine: Callable[[float, float], float]) -> None:
        self._row, self._combine = row, combine
        self._values: dict[tuple[str, ...], float] = {}

    def show(self, values: Mapping[Any, float] | float | None) -> None:
        """Replaces all values: by tuples of labels, or the only one; None: nothing is known."""
        if values is None:
            self._values = {}
        elif not isinstance(values, Mapping):
            self._values = {(): values}
        elif _has_queue(self._row.labels):
            self._values = {}
            for (queue, *rest), value in values.items():
                key = (QUEUE_LABELS[queue], *rest)
                shown = self._values.get(key)
                self._values[key] = value if shown is None else self._combine(shown, value)
        else:
            self._values = dict(values)

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(self._row.name, self._row.help, labels=self._row.labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        return [family]


TABLE: list[Row] = []
_registries: dict[Role, CollectorRegistry] = {
    role: CollectorRegistry() for role in ("api", "worker")
}


def _listed(row: Row) -> Row:
    TABLE.append(row)
    return row


def _register(row: Row, collector: Collector) -> None:
    for role in row.roles:
        _registries[role].register(collector)


def _counters(
    name: str, labels: tuple[str, ...], roles: tuple[Role, ...], help: str
) -> ByLabel[Counter]:
    row = _listed(Row(name, "counter", labels, roles, help))
    children = ByLabel(lambda _: Counter(), queues=_has_queue(labels))
    _register(row, _Children(row, CounterMetricFamily, children))
    return children


def _counter(name: str, roles: tuple[Role, ...], help: str) -> Counter:
    return _counters(name, (), roles, help)[()]


def _histograms(
    name: str, labels: tuple[str, ...], roles: tuple[Role, ...], help: str, buckets: Sequence[float]
) -> ByLabel[Histogram]:
    row = _listed(Row(name, "histogram", labels, roles, help))
    children = ByLabel(lambda _: Histogram(buckets), queues=_has_queue(labels))
    _register(row, _Children(row, HistogramMetricFamily, children))
    return children


def _histogram(
    name: str, roles: tuple[Role, ...], help: str, buckets: Sequence[float]
) -> Histogram:
    return _histograms(name, (), roles, help, buckets)[()]


def _gauges(
    name: str, labels: tuple[str, ...], roles: tuple[Role, ...], help: str
) -> ByLabel[Gauge]:
    row = _listed(Row(name, "gauge", labels, roles, help))
    gauge = Gauge(name, help, labels, registry=None)
    _register(row, gauge)
    return ByLabel(lambda values: gauge.labels(*values) if labels else gauge)


def _gauge(name: str, roles: tuple[Role, ...], help: str) -> Gauge:
    return _gauges(name, (), roles, help)[()]


def _read(
    name: str,
    labels: tuple[str, ...],
    roles: tuple[Role, ...],
    help: str,
    combine: Callable[[float, float], float] = operator.add,
) -> Reading:
    row = _listed(Row(name, "gauge", labels, roles, help))
    reading = Reading(row, combine)
    _register(row, reading)
    return reading


_API: tuple[Role, ...] = ("api",)
_WORKER: tuple[Role, ...] = ("worker",)
_BOTH = _API + _WORKER
_QUICK = (
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
)  # s, from etcd on the same machine to its time limit
_CALLS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)  # s
_SENDS = (
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    30,
    60,
    300,
)  # s, from a relay in the next room to its time limits
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 96, 127)  # transactions; etcd's limit is 127

# --- both ---
_BUILD = _listed(
    Row(
        "babygun_build_info",
        "gauge",
        ("version", "python", "role"),
        _BOTH,
        "1; what runs is in the labels",
    )
)
ETCD_RPC = _histograms(
    "babygun_etcd_rpc_seconds",
    ("rpc",),
    _BOTH,
    "time that one try of a request to etcd took, failed or not; watches are not counted",
    buckets=_QUICK,
)
ETCD_RPC_ERRORS = _counters(
    "babygun_etcd_rpc_errors_total",
    ("rpc", "reason"),
    _BOTH,
    "tries that failed, by gRPC's status in lower case; `no_connection`: no member could be reached",
)
ETCD_BATCH = _histogram(
    "babygun_etcd_batch_transactions",
    _BOTH,
    "transactions that went to etcd as one request (group commit)",
    buckets=_BATCHES,
)
EVENT_LOOP_LAG = _gauge(
    "babygun_event_loop_lag_seconds",
    _BOTH,
    "how late the event loop was at its worst in the last 15 s, asked once a second",
)
CERTIFICATE_EXPIRY = _gauges(
    "babygun_certificate_expiry_timestamp_seconds",
    ("use",),
    _BOTH,
    "when the certificate in use ends, Unix time; `use`: api (what we show), etcd (what we show to etcd)",
)
EMAILS_ENDED = _counters(
    "babygun_emails_ended_total",
    ("status",),
    _BOTH,
    "e-mails that came to their end: complete, failed (by workers) or cancelled",
)
# --- the API ---
EMAILS_ACCEPTED = _counter(
    "babygun_emails_accepted_total",
    _API,
    "e-mails committed to etcd and acknowledged; a repeated Idempotency-Key does not count again",
)
RECIPIENTS_ACCEPTED = _counter("babygun_recipients_accepted_total", _API, "their recipients")
HTTP_REQUESTS = _counters(
    "babygun_http_requests_total",
    ("method", "route", "status"),
    _API,
    "answers; `route`: the path's template, `_other` for an unknown one",
)
HTTP_SECONDS = _histograms(
    "babygun_http_request_seconds",
    ("method", "route"),
    _API,
    "time from a request's head to its answer",
    buckets=_CALLS,
)
EVENT_LISTENERS = _gauge("babygun_event_listeners", _API, "who listens to GET /events")
QUEUE_JOBS = _read(
    "babygun_queue_jobs",
    ("queue", "state"),
    _API,
    "jobs in etcd: ready (those being sent too), waiting (for their time); `_other`: too many to be told apart (docs/metrics.md)",
)
OLDEST_JOB = _read(
    "babygun_oldest_job_seconds",
    ("queue", "state"),
    _API,
    "ready: age of the oldest such e-mail; waiting: how long the most overdue one should have been ready, 0 if none is",
    combine=max,
)
OWNED_JOBS = _read("babygun_owned_jobs", (), _API, "jobs that some worker owns at this moment")
WORKERS = _read("babygun_workers", (), _API, "workers whose lease is alive")
ETCD_MEMBER_UP = _read(
    "babygun_etcd_member_up",
    ("endpoint",),
    _API,
    "whether this endpoint of `etcd_endpoints` answers, 1 or 0",
)
ETCD_DB = _read(
    "babygun_etcd_db_bytes",
    ("endpoint",),
    _API,
    "size of its database file, which never shrinks by itself",
)
ETCD_DB_IN_USE = _read(
    "babygun_etcd_db_in_use_bytes",
    ("endpoint",),
    _API,
    "what of that is in use: the shedding and the refusal of new e-mails go by this, and by how fast it grows",
)
ETCD_QUOTA = _read(
    "babygun_etcd_quota_bytes",
    ("endpoint",),
    _API,
    "its quota; `etcd_quota` where it does not tell",
)
# --- the worker ---
RECIPIENTS = _counters(
    "babygun_recipients_total",
    ("queue", "outcome", "class"),
    _WORKER,
    "recipients by what a try did: delivered, deferred (tried again), failed (for good); `class`: of the reply",
)
JOBS_IN_FLIGHT = _read(
    "babygun_jobs_in_flight",
    ("queue",),
    _WORKER,
    "jobs that this worker is at, from claim to result",
)
JOBS_READY = _read(
    "babygun_jobs_ready",
    ("queue",),
    _WORKER,
    "ready jobs of its slice that it knows by name, at most `worker_ready`",
)
CLAIMS = _counters(
    "babygun_claims_total",
    ("outcome",),
    _WORKER,
    "claimed; lost (another had it, or it was gone); unanswered (by etcd); lease_lost (its own lease was gone)",
)
CLAIM_TO_REPLY = _histograms(
    "babygun_claim_to_reply_seconds",
    ("queue",),
    _WORKER,
    "time from a claim to the server's reply to the content (claim to 250)",
    buckets=_SENDS,
)
RESULTS_DROPPED = _counter(
    "babygun_results_dropped_total",
    _WORKER,
    "results not written, since another worker had the job by then: the message may have gone out twice",
)
SMTP_CONNECTIONS = _read(
    "babygun_smtp_connections",
    ("queue", "state"),
    _WORKER,
    "connections to the destination: busy, idle",
)
SMTP_WAITING = _read(
    "babygun_smtp_waiting", ("queue",), _WORKER, "messages that wait for a connection"
)
LEASE_MARGIN = _read(
    "babygun_lease_margin_seconds",
    (),
    _WORKER,
    "how much longer the worker's lease can be trusted; 0: it sends nothing",
)
SLICE_SHARDS = _read("babygun_slice_shards", (), _WORKER, "shards of 256 that are this worker's")
RECLAIMED = _counter(
    "babygun_jobs_reclaimed_total", _WORKER, "jobs taken over from workers that died"
)
SHED = _counters(
    "babygun_shed_total",
    ("kind",),
    _WORKER,
    "retention leases (up to 1,000 keys each) revoked before their time to make room in etcd: contents, emails",
)

# Series that begin at 0: a rate over one that appears with its first event would miss that.
for _children, _known in (
    (EMAILS_ENDED, ("complete", "failed", "cancelled")),
    (CLAIMS, ("claimed", "lost", "unanswered", "lease_lost")),
    (SHED, ("contents", "emails")),
):
    for _label in _known:
        _children[_label]
for _role, _registry in _registries.items():
    ProcessCollector(registry=_registry)
    PlatformCollector(registry=_registry)
    GCCollector(registry=_registry)
    Gauge(_BUILD.name, _BUILD.help, _BUILD.labels, registry=_registry).labels(
        __version__, platform.python_version(), _role
    ).set(1)


def render(role: Role, accept: str = "") -> tuple[bytes, str]:
    """What a process of this role shows, and its Content-Type. ``accept``: the request's Accept; OpenMetrics goes to those who name it."""
    if any(
        _wants(media_range, "application/openmetrics-text") for media_range in accept.split(",")
    ):
        return bytes(generate_openmetrics(_registries[role])), OPENMETRICS  # type: ignore[no-untyped-call]
    return generate_latest(_registries[role]), TEXT


def _wants(media_range: str, media_type: str) -> bool:
    name, *parameters = (part.strip().lower() for part in media_range.split(";"))
    return name == media_type and not {"q=0", "q=0.0", "q=0.00", "q=0.000"} & set(parameters)


def may_scrape(authorization: str | None, token: str) -> bool:
    """Whether this Authorization header opens ``/metrics``. ``token``: the setting ``metrics_token``; empty: everybody may."""
    if not token:
        return True
    scheme, _, given = (authorization or "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(
        given.strip().encode(errors="surrogateescape"), token.encode()
    )


async def watch_event_loop(interval: float = 1.0) -> None:
    """Asks once per ``interval`` seconds how late the event loop is. Runs until cancelled.

    The worst of the last 15 is shown, so that a scraper who comes every 15 s misses none.
    """
    loop = asyncio.get_running_loop()
    latest: deque[float] = deque(maxlen=15)
    while True:
        due = loop.time() + interval
        await asyncio.sleep(interval)
        latest.append(max(0.0, loop.time() - due))
        EVENT_LOOP_LAG.set(max(latest))


def markdown(rows: Sequence[Row] = TABLE) -> str:
    """The table of docs/metrics.md."""
    lines = ["| metric | type | labels | of | what it says |", "|---|---|---|---|---|"]
    for row in rows:
        labels = ", ".join(f"`{label}`" for label in row.labels)
        lines.append(
            f"| `{row.name}` | {row.type} | {labels} | {', '.join(row.roles)} | {row.help} |"
        )
    return "\n".join(lines)
