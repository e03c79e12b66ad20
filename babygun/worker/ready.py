"""Which ready jobs a worker knows, and which it starts next. Pure: no clock, no I/O.

It keeps the names of jobs only, up to a limit per queue. A queue with more jobs in etcd is marked
as truncated, and is read on when few of its names are left. Queues take turns, so that a slow one
does not hold up the others.

A queue whose next job can't start is set aside, by its obstacle, until that may have changed. So
to take a job costs the same however many queues there are.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable

from babygun.email.model import Job
from babygun.store.keys import JobRef
from babygun.worker.slots import Obstacle


class ReadyJobs:
    """Ready jobs by queue.

    ``limit``: names kept per queue. ``truncated``: queues with more jobs in etcd than are known
    here. ``to_read``: those of them that few names are left of.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.truncated: set[str] = set()
        self.to_read: set[str] = set()
        self._names: dict[str, deque[JobRef]] = {}
        self._jobs: dict[JobRef, Job] = {}
        self._turns: OrderedDict[str, None] = OrderedDict()  # the next queue first
        self._set_aside: dict[Obstacle, OrderedDict[str, None]] = {
            "limit": OrderedDict(),
            "share": OrderedDict(),
            "memory": OrderedDict(),
            "held": OrderedDict(),
        }

    def __len__(self) -> int:
        return len(self._jobs)

    def count(self, queue: str) -> int:
        return len(self._names.get(queue, ()))

    def queues(self) -> list[str]:
        """The queues with a job that is known here."""
        return list(self._names)

    def add(self, ref: JobRef, job: Job) -> bool:
        """Adds a job. False: its queue is full, and counts as truncated from now on."""
        if ref in self._jobs:
            return True
        names = self._names.get(ref.queue)
        if names is None:
            names = self._names[ref.queue] = deque()
            self._turns[ref.queue] = None
        elif len(names) >= self.limit:
            self.truncated.add(ref.queue)
            return False
        names.append(ref)
        self._jobs[ref] = job
        return True

    def take(self, obstacle: Callable[[str, Job], Obstacle | None]) -> tuple[JobRef, Job] | None:
        """The next job that may start, of the next queue in turn; None where there is none.

        ``obstacle`` says what keeps a queue's job from starting. Ask only while a slot is free.
        Queues that were set aside for want of a share or of memory come first.
        """
        for kind in ("share", "memory"):
            line = self._set_aside[kind]
            while line:
                queue = next(iter(line))
                found = obstacle(queue, self._first(queue))
                if found == kind:
                    break  # so it is with those behind, except for a smaller job's memory
                del line[queue]
                if found is None:
                    return self._pop(queue)
                self._set_aside[found][queue] = None
        while self._turns:
            queue, _ = self._turns.popitem(last=False)
            found = obstacle(queue, self._first(queue))
            if found is None:
                return self._pop(queue)
            self._set_aside[found][queue] = None
        return None

    def _first(self, queue: str) -> Job:
        return self._jobs[self._names[queue][0]]

    def _pop(self, queue: str) -> tuple[JobRef, Job]:
        """Takes a queue's first job; its next turn comes after those of the others."""
        names = self._names[queue]
        ref = names.popleft()
        if names:
            self._turns[queue] = None
        else:
            del self._names[queue]
        if queue in self.truncated and len(names) < self.limit // 4:
            self.to_read.add(queue)
        return ref, self._jobs.pop(ref)

    def first(self, queue: str) -> Job | None:
        """The queue's first job; None where none is known."""
        return self._first(queue) if queue in self._names else None

    def jobs(self, queue: str) -> list[JobRef]:
        """The queue's jobs that are known, the first one first."""
        return list(self._names.get(queue, ()))

    def take_probe(self, queue: str, ref: JobRef | None = None) -> tuple[JobRef, Job] | None:
        """A job of a held queue, ``ref`` if that is still known; None where none is known."""
        if queue not in self._names:
            return None
        if ref is not None and ref in self._jobs:
            self._names[queue].remove(ref)
            self._names[queue].appendleft(ref)
        self._turns.pop(queue, None)
        for line in self._set_aside.values():
            line.pop(queue, None)
        return self._pop(queue)

    def ask_again(self, queue: str) -> None:
        """A job of the queue has ended, so its next one may start."""
        self._back_in_turn(queue, "limit", "share")

    def resume(self, queue: str) -> None:
        """The queue is not held any more."""
        self._back_in_turn(queue, "held")

    def _back_in_turn(self, queue: str, *kinds: Obstacle) -> None:
        for kind in kinds:
            if queue in self._set_aside[kind]:
                del self._set_aside[kind][queue]
                self._turns[queue] = None

    def begin_read(self, queue: str | None) -> set[str]:
        """A read begins: of one queue, or of all (None). It marks again what it has no room for.

        Returns the queues to mark where it fails.
        """
        unread = set(self.truncated) if queue is None else {queue}
        self.truncated -= unread
        self.to_read -= unread
        return unread

    def read_failed(self, unread: Iterable[str]) -> None:
        for queue in unread:
            self.truncated.add(queue)
            if self.count(queue) < self.limit // 4:
                self.to_read.add(queue)

    def clear(self) -> None:
        """Forgets everything: the worker's slice has changed."""
        self._names.clear()
        self._jobs.clear()
        self._turns.clear()
        for line in self._set_aside.values():
            line.clear()
        self.truncated.clear()
        self.to_read.clear()
