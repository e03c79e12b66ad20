"""The types of metrics, on top of prometheus_client, and the functions that declare one.

Each declared metric is a row of :data:`TABLE`. Counters, histograms and gauges with labels are
dicts: ``EMAILS_ENDED["failed"].inc()``. A :class:`Reading` gets its values at each request of
``/metrics``. Counts are this process's own, since its start.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
)
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

Role = Literal["api", "worker"]
Roles = tuple[Role, ...]
Labels = tuple[str, ...]
M = TypeVar("M", bound=MetricWrapperBase)
C = TypeVar("C", bound=Collector)

# The label of what has no label of its own. No queue and no path can be called so.
OTHER = "_other"
MOST_QUEUES = 100  # queues that have a label of their own in one process

# A second series for each counter, which nobody needs.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Row(NamedTuple):
    """One metric of the table. ``roles``: the processes that have it."""

    name: str
    type: str
    labels: Labels
    roles: Roles
    help: str


TABLE: list[Row] = []
REGISTRIES: dict[Role, CollectorRegistry] = {
    "api": CollectorRegistry(),
    "worker": CollectorRegistry(),
}


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


class ByLabel(dict[str | Labels, M]):
    """The series of a metric, by their labels' values. They are made when first asked for.

    Here counting costs 0.4 µs; by ``metric.labels(…)`` it would cost 1.1 µs. If the first label is
    a queue, :data:`QUEUE_LABELS` bounds their number.
    """

    def __init__(self, metric: M, labels: Labels) -> None:
        super().__init__()
        self._metric, self._by_queue = metric, _by_queue(labels)

    def __missing__(self, key: str | Labels) -> M:
        first, *rest = (key,) if isinstance(key, str) else key
        if self._by_queue and QUEUE_LABELS[first] == OTHER:
            return self._metric.labels(OTHER, *rest)
        series = self[key] = self._metric.labels(first, *rest)
        return series


class Reading(Collector):
    """A gauge that is read for each request. What is not known then is absent.

    ``combine`` makes one value of those of the queues that have no label of their own.
    """

    def __init__(self, row: Row, combine: Callable[[float, float], float]) -> None:
        self._row, self._combine = row, combine
        self._values: dict[Labels, float] = {}

    def show(self, values: Mapping[Any, float] | float | None) -> None:
        """Replaces all values: by tuples of labels, or the only one; None: nothing is known."""
        if values is None:
            self._values = {}
        elif not isinstance(values, Mapping):
            self._values = {(): values}
        elif _by_queue(self._row.labels):
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


def counters(name: str, labels: Labels, roles: Roles, help: str) -> ByLabel[Counter]:
    row = listed(Row(name, "counter", labels, roles, help))
    return ByLabel(_registered(row, Counter(name, help, labels, registry=None)), labels)


def counter(name: str, roles: Roles, help: str) -> Counter:
    row = listed(Row(name, "counter", (), roles, help))
    return _registered(row, Counter(name, help, registry=None))


def histograms(
    name: str, labels: Labels, roles: Roles, help: str, buckets: Sequence[float]
) -> ByLabel[Histogram]:
    row = listed(Row(name, "histogram", labels, roles, help))
    metric = Histogram(name, help, labels, registry=None, buckets=buckets)
    return ByLabel(_registered(row, metric), labels)


def histogram(name: str, roles: Roles, help: str, buckets: Sequence[float]) -> Histogram:
    row = listed(Row(name, "histogram", (), roles, help))
    return _registered(row, Histogram(name, help, registry=None, buckets=buckets))


def gauges(name: str, labels: Labels, roles: Roles, help: str) -> ByLabel[Gauge]:
    row = listed(Row(name, "gauge", labels, roles, help))
    return ByLabel(_registered(row, Gauge(name, help, labels, registry=None)), labels)


def gauge(name: str, roles: Roles, help: str) -> Gauge:
    row = listed(Row(name, "gauge", (), roles, help))
    return _registered(row, Gauge(name, help, registry=None))


def reading(
    name: str,
    labels: Labels,
    roles: Roles,
    help: str,
    combine: Callable[[float, float], float] = operator.add,
) -> Reading:
    row = listed(Row(name, "gauge", labels, roles, help))
    return _registered(row, Reading(row, combine))


def listed(row: Row) -> Row:
    """Adds a row to the table."""
    TABLE.append(row)
    return row


def _registered(row: Row, metric: C) -> C:
    for role in row.roles:
        REGISTRIES[role].register(metric)
    return metric


def _by_queue(labels: Labels) -> bool:
    return labels[:1] == ("queue",)
