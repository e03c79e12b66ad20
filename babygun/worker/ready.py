"""Which jobs a worker knows to be ready, and which it starts next. Pure: no clock, no I/O.

Names only, up to a limit per queue; beyond it the queue is marked as truncated and read on when its names are used up.
Queues take turns, so that a slow one doesn't hold up the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from babygun.email.model import Job
from babygun.store.keys import JobRef


class ReadyJobs:
    """Ready jobs by queue. ``limit``: names kept per queue."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._queues: dict[str, deque[JobRef]] = {}  # in the order of their turns
        self._jobs: dict[JobRef, Job] = {}
        self.truncated: set[str] = set()  # queues of which etcd holds more than is known here

    def __len__(self) -> int:
        return len(self._jobs)

    def count(self, queue: str) -> int:
        return len(self._queues.get(queue, ()))

    def queues(self) -> list[str]:
        return list(self._queues)

    def add(self, ref: JobRef, job: Job) -> bool:
        """False where the queue is full: it counts as truncated from now on. What is known already is not added twice."""
        if ref in self._jobs:
            return True
        names = self._queues.setdefault(ref.queue, deque())
        if len(names) >= self.limit:
            self.truncated.add(ref.queue)
            return False
        names.append(ref)
        self._jobs[ref] = job
        return True

    def take(self, may_start: Callable[[str, Job], bool]) -> tuple[JobRef, Job] | None:
        """The next job, of the next queue in turn whose first job may start; None where there is none."""
        for queue in list(self._queues):
            names = self._queues[queue]
            if not names:
                if queue not in self.truncated:
                    del self._queues[queue]
                continue
            job = self._jobs[names[0]]
            if may_start(queue, job):
                ref = names.popleft()
                del self._jobs[ref]
                self._queues[queue] = self._queues.pop(queue)  # to the end of the turns
                return ref, job
        return None

    def clear(self) -> None:
        """Forgets everything: the worker's slice has changed."""
        self._queues.clear()
        self._jobs.clear()
        self.truncated.clear()


class Slots:
    """How many sends may run at once: half of the slots are kept for the queues in equal parts, the rest is for all.

    So however many queues hang, each of the others still has its own part. ``limits``: the most for a queue, by its name: more
    than its connections can carry would only be owned, out of reach of other workers and of a cancel. A worker's memory for
    contents is bounded too; one email that is larger than all of it may go beside what fits.
    """

    def __init__(self, *, total: int, memory: int, limits: dict[str, int]) -> None:
        self._memory = memory
        self._limits = limits
        self._own = max(1, total // 2 // max(1, len(limits)))
        self._shared = max(0, total - self._own * max(1, len(limits)))
        self._in_use: dict[str, int] = {}
        self._shared_in_use = 0
        self._bytes = 0
        self._oversize = 0

    @property
    def in_use(self) -> Mapping[str, int]:
        """Sends that run, by queue."""
        return self._in_use

    def may_start(self, queue: str, job: Job) -> bool:
        if self._oversize if job.size > self._memory else self._bytes + job.size > self._memory:
            return False
        used = self._in_use.get(queue, 0)
        return used < self._limits.get(queue, 1) and (
            used < self._own or self._shared_in_use < self._shared
        )

    def start(self, queue: str, job: Job) -> None:
        used = self._in_use.get(queue, 0) + 1
        self._in_use[queue] = used
        self._shared_in_use += used > self._own
        self._count(job, 1)

    def _count(self, job: Job, sign: int) -> None:
        if job.size > self._memory:
            self._oversize += sign
        else:
            self._bytes += sign * job.size

    def end(self, queue: str, job: Job) -> None:
        used = self._in_use[queue]
        self._shared_in_use -= used > self._own
        self._count(job, -1)
        if used == 1:
            del self._in_use[queue]
        else:
            self._in_use[queue] = used - 1
