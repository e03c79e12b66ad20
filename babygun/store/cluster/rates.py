"""Rates from counters: events a second, from what processes have counted since their start.

Processes report their counts every few seconds. The growth between two reports is spread evenly
over the time between them, so a chart of short steps does not show the rhythm of the reports.
A step is shown once it is settled: when every regular source has reported past it.
Pure: times are given, in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

STEP = 5.0  # s, that one point of the history stands for
POINTS = 720  # of the history: an hour
SPAN = 2.0  # s, over which a current rate is taken at least: reports may follow each other at once
SILENT = 3  # missing reports, after which a source does not count in the current rate


class History(NamedTuple):
    """Events a second by name, one value for each STEP from ``start`` (Unix time) on.

    All names have the same number of values, POINTS at most.
    """

    start: float
    values: dict[str, list[float]]


@dataclass(slots=True)
class _Source:
    """What one process reported last. ``since``: where the next current rate begins."""

    counts: Mapping[str, int]
    at: float
    since: tuple[Mapping[str, int], float]
    interval: float = STEP
    rates: dict[str, float] = field(default_factory=dict)


class Rates:
    """The rates of ``names``. ``settling``: seconds between two reports of a source."""

    def __init__(self, names: tuple[str, ...], settling: float = STEP) -> None:
        self._names, self._settling = names, settling
        self._sources: dict[Hashable, _Source] = {}
        self._steps: dict[int, dict[str, float]] = {}  # by number since 1970
        self._first: int | None = None

    def add(self, source: Hashable, counts: Mapping[str, int], at: float) -> None:
        """Adds a report: ``source`` has counted ``counts`` by ``at``.

        A first report is no growth. A count below the last one has begun again at 0.
        """
        self._first = self._first if self._first is not None else math.floor(at / STEP)
        known = self._sources.get(source)
        if known is None or at <= known.at:
            self._sources = {
                key: other for key, other in self._sources.items() if other.at > at - STEP * POINTS
            }
            self._sources[source] = _Source(counts, at, (counts, at))
            return
        for name, grown in _growth(known.counts, counts).items():
            self._spread(name, grown, max(known.at, at - STEP * POINTS), at)
        known.interval, known.counts, known.at = at - known.at, counts, at
        since, begun = known.since
        if at - begun >= SPAN:
            known.rates = {
                name: grown / (at - begun) for name, grown in _growth(since, counts).items()
            }
            known.since = counts, at

    def leave(self, source: Hashable) -> None:
        """A source has ended: it no longer counts in the current rate.

        If it reports again, its counts go on from the last report.
        """
        if known := self._sources.get(source):
            known.rates = {}

    def now(self, at: float) -> dict[str, float]:
        """Events a second at ``at``, of all sources that still report."""
        alive = [
            known
            for known in self._sources.values()
            if at - known.at <= SILENT * max(known.interval, SPAN)
        ]
        return {
            name: round(sum(known.rates.get(name, 0.0) for known in alive), 3)
            for name in self._names
        }

    def history(self, at: float) -> History:
        """The settled steps of the hour before ``at``, from the first report on."""
        end = math.floor((at - self._settling) / STEP)
        first = end if self._first is None else min(end, max(self._first, end - POINTS))
        nothing: dict[str, float] = {}
        steps = [self._steps.get(number, nothing) for number in range(first, end)]
        values = {
            name: [round(step.get(name, 0.0) / STEP, 3) for step in steps] for name in self._names
        }
        return History(first * STEP, values)

    def _spread(self, name: str, grown: int, start: float, end: float) -> None:
        if not grown:
            return
        at = start
        for number in range(math.floor(start / STEP), math.ceil(end / STEP)):
            until = min(end, (number + 1) * STEP)
            step = self._steps.setdefault(number, {})
            while len(self._steps) > 2 * POINTS:  # older than the history, and settled
                del self._steps[min(self._steps)]
            step[name] = step.get(name, 0.0) + grown * (until - at) / (end - start)
            at = until


def _growth(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return {
        name: count - before.get(name, 0) if count >= before.get(name, 0) else count
        for name, count in after.items()
    }
