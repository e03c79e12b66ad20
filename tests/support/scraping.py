"""Reads /metrics as Prometheus does.

Counters belong to a process and grow during the whole test run, so tests compare two readings.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families

from babygun.runtime.exposition import render
from babygun.runtime.metric_types import Role


class Scraped:
    """The samples of one answer."""

    def __init__(self, text: str) -> None:
        self._samples = {
            (sample.name, frozenset(sample.labels.items())): float(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def get(self, name: str, **labels: str) -> float | None:
        """One sample, or None. ``class_`` is the label ``class``."""
        return self._samples.get(
            (name, frozenset((key.rstrip("_"), value) for key, value in labels.items()))
        )

    def since(self, before: Scraped, name: str, **labels: str) -> float:
        """How much a counter has grown."""
        return (self.get(name, **labels) or 0.0) - (before.get(name, **labels) or 0.0)

    def labels(self, name: str) -> Iterator[dict[str, str]]:
        """The labels of each sample of a metric."""
        return (dict(labels) for found, labels in self._samples if found == name)


def scraped(role: Role) -> Scraped:
    """What a process of this role would answer now, of the counts of this one."""
    return Scraped(render(role)[0].decode())
