"""The types of metrics, shown by prometheus_client, and the functions that declare one.

Each declared metric is a row of :data:`TABLE`. Counters, histograms and gauges with labels are
dicts: ``EMAILS_ENDED["failed"].inc()``. A :class:`Reading` gets its values at each request of
``/metrics``. Counts are this process's own, since its start.

Counters and histograms are our own: prometheus_client's take a lock for each number, and 4 % of all
CPU time of an e-mail. So only the event loop's thread may count.
"""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from prometheus_client import CollectorRegistry, Gauge, Metric
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

Role = Literal["api", "worker", "bounced"]
Roles = tuple[Role, ...]
Labels = tuple[str, ...]
S = TypeVar("S")
C = TypeVar("C", bound=Collector)

# The label of what has no label of its own. No queue and no path can be called so.
OTHER = "_other"
MOST_QUEUES = 100  # queues and sites that have a label of their own in one process


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
    "bounced": CollectorRegistry(),
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


class Counter:
    """A number that only grows."""

    __slots__ = ("_value",)

    def __init__(self) -> None:
        self._value = 0.0

    def inc(self, amount: float = 1) -> None:
        self._value += amount

    def show(self, family: CounterMetricFamily, labels: Labels) -> None:
        family.add_metric(labels, self._value)


class Histogram:
    """Counts values by the first of ``bounds`` that they do not exceed, and adds them up."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def show(self, family: HistogramMetricFamily, labels: Labels) -> None:
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        family.add_metric(labels, [*zip(names, accumulate(self._counts), strict=True)], self._sum)


class ByLabel(dict[str | Labels, S]):
    """The series of a metric, by their labels' values. ``make`` makes one when first asked for.

    If the first label is a queue or a site, :data:`QUEUE_LABELS` bounds their number.
    """

    def __init__(self, labels: Labels, make: Callable[[Labels], S]) -> None:
        super().__init__()
        self._make, self._bounded = make, _bounded(labels)

    def __missing__(self, key: str | Labels) -> S:
        values = _values(key)
        if self._bounded and values[0] != OTHER and QUEUE_LABELS[values[0]] == OTHER:
            return self[OTHER, *values[1:]]
        series = self[key] = self._make(values)
        return series


class _Shown(Protocol):
    def show(self, family: Any, labels: Labels) -> None: ...


class _Series(Collector):
    """Shows the counters or histograms of a row, as a ``family`` of prometheus_client."""

    def __init__(
        self, row: Row, family: Callable[..., Metric], series: Mapping[Any, _Shown]
    ) -> None:
        self._row, self._family, self._series = row, family, series

    def collect(self) -> Iterable[Metric]:
        family = self._family(self._row.name, self._row.help, labels=self._row.labels)
        for key, one in self._series.items():
            one.show(family, _values(key))
        return [family]


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
        elif _bounded(self._row.labels):
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
    series = ByLabel(labels, lambda _: Counter())
    row = listed(Row(name, "counter", labels, roles, help))
    _registered(row, _Series(row, CounterMetricFamily, series))
    return series


def counter(name: str, roles: Roles, help: str) -> Counter:
    return counters(name, (), roles, help)[()]


def histograms(
    name: str, labels: Labels, roles: Roles, help: str, buckets: Sequence[float]
) -> ByLabel[Histogram]:
    series = ByLabel(labels, lambda _: Histogram(buckets))
    row = listed(Row(name, "histogram", labels, roles, help))
    _registered(row, _Series(row, HistogramMetricFamily, series))
    return series


def histogram(name: str, roles: Roles, help: str, buckets: Sequence[float]) -> Histogram:
    return histograms(name, (), roles, help, buckets)[()]


def gauges(name: str, labels: Labels, roles: Roles, help: str) -> ByLabel[Gauge]:
    row = listed(Row(name, "gauge", labels, roles, help))
    metric = _registered(row, Gauge(name, help, labels, registry=None))
    return ByLabel(labels, lambda values: metric.labels(*values))


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


def _bounded(labels: Labels) -> bool:
    return labels[:1] in (("queue",), ("site",))


def _values(key: str | Labels) -> Labels:
    """The labels' values of a series that a :class:`ByLabel` has by this key."""
    return (key,) if isinstance(key, str) else key
