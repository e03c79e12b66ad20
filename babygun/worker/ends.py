"""Ready jobs whose e-mail has an end of its own, by that end. Pure: no clock, no I/O."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from datetime import datetime, timedelta

from babygun.email.model import Job
from babygun.store.keys import JobRef

_AGAIN = timedelta(minutes=1)  # until a job that could not be ended is named again
_SPARE = 1000  # entries of jobs that are gone, beside as many as there are jobs


class Ends:
    """``jobs``: those that are known. An entry of any other is stale, and is dropped in time."""

    def __init__(self, jobs: Mapping[JobRef, Job]) -> None:
        self._jobs = jobs
        self._heap: list[tuple[datetime, JobRef]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, at: datetime, ref: JobRef) -> None:
        heapq.heappush(self._heap, (at, ref))
        if len(self._heap) > 2 * len(self._jobs) + _SPARE:
            self._heap = [
                (job.expires_at, ref) for ref, job in self._jobs.items() if job.expires_at
            ]
            heapq.heapify(self._heap)

    def any(self, now: datetime) -> bool:
        """Whether the end of a job may have come."""
        return bool(self._heap) and self._heap[0][0] <= now

    def due(self, now: datetime, most: int) -> list[JobRef]:
        """Known jobs whose end has come, the earliest first. They are named again in a minute."""
        found: list[JobRef] = []
        heap = self._heap
        while heap and heap[0][0] <= now and len(found) < most:
            _, ref = heapq.heappop(heap)
            job = self._jobs.get(ref)
            if job is not None and job.expires_at is not None and job.expires_at <= now:
                found.append(ref)
        for ref in found:
            heapq.heappush(heap, (now + _AGAIN, ref))
        return found

    def clear(self) -> None:
        self._heap.clear()
