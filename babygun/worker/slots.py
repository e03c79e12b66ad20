"""How many sends may run at once, of each queue and in all. Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from babygun.email.model import Job

# Queues that have a part of the slots of their own, also while they send nothing.
KEPT_QUEUES = 32

# Why a queue's job can't start now.
# limit: the queue has as many sends as it may have. memory: the job's content does not fit.
# share: the queue's own part is used up, and the slots that all share are taken.
# held: the queue is held; the dispatch says so.
Obstacle = Literal["limit", "share", "memory", "held"]


class _Use(Struct):
    """The slots that a queue has: of its own part, and of those that all share."""

    limit: int
    own: int = 0
    shared: int = 0


class Slots:
    """Half of the slots are kept for the queues in equal parts, the other half all may take.

    So a queue with a server that hangs leaves the others their parts. The parts are for the queues
    in use. Up to KEPT_QUEUES known queues have one even while they are not in use.

    ``queues``: how many queues are known. ``limit``: the most sends of a queue, by its name.
    ``memory``: bytes of contents. One e-mail that is larger than all of it may go beside what fits.
    """

    def __init__(
        self, *, total: int, memory: int, queues: int, limit: Callable[[str], int]
    ) -> None:
        self._limit = limit
        self._kept = max(1, min(queues, KEPT_QUEUES))
        self._own = max(1, total // 2 // self._kept) * self._kept
        self._shared = max(0, total - self._own)
        self._own_in_use = 0
        self._shared_in_use = 0
        self._in_use: dict[str, _Use] = {}
        self._most: dict[str, int] = {}  # sends of a queue, while fewer than its limit may run
        self._part = 0  # slots of a queue's own part
        self._divide()
        self._memory = memory
        self._bytes = 0
        self._oversize = 0  # e-mails under way that are larger than the memory

    @property
    def in_use(self) -> dict[str, int]:
        """Sends that run, by queue."""
        return {queue: use.own + use.shared for queue, use in self._in_use.items()}

    @property
    def full(self) -> bool:
        """Whether no queue may start anything."""
        return self._own_in_use >= self._own and self._shared_in_use >= self._shared

    def obstacle(self, queue: str, job: Job) -> Obstacle | None:
        """What keeps this job from starting; None: nothing."""
        use = self._in_use.get(queue)
        sends = use.own + use.shared if use else 0
        most = self._most.get(queue, use.limit if use else None)
        if most is not None and sends >= most:
            return "limit"
        if self._shared_in_use >= self._shared and not self._has_own(use):
            return "share"
        if job.size > self._memory:
            return "memory" if self._oversize else None
        return "memory" if self._bytes + job.size > self._memory else None

    def allow(self, queue: str, most: int | None) -> None:
        """Lets a queue have fewer sends than its limit; None: no longer."""
        if most is None:
            self._most.pop(queue, None)
        else:
            self._most[queue] = most

    def _has_own(self, use: _Use | None) -> bool:
        """Whether a slot of the queue's own part is free."""
        return (use is None or use.own < self._part) and self._own_in_use < self._own

    def _divide(self) -> None:
        """Makes the parts equal for the queues that are in use now."""
        self._part = max(1, self._own // max(self._kept, len(self._in_use)))

    def start(self, queue: str, job: Job) -> None:
        use = self._in_use.get(queue)
        if use is None:
            use = self._in_use[queue] = _Use(self._limit(queue))
            self._divide()
        if self._has_own(use):
            use.own += 1
            self._own_in_use += 1
        else:
            use.shared += 1
            self._shared_in_use += 1
        self._count(job, 1)

    def end(self, queue: str, job: Job) -> None:
        use = self._in_use[queue]
        if use.shared:
            use.shared -= 1
            self._shared_in_use -= 1
        else:
            use.own -= 1
            self._own_in_use -= 1
            if not use.own:
                del self._in_use[queue]
                self._divide()
        self._count(job, -1)

    def _count(self, job: Job, sign: int) -> None:
        if job.size > self._memory:
            self._oversize += sign
        else:
            self._bytes += sign * job.size
