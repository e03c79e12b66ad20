"""A process has used up its file descriptors: it gets no new connection, and opens no file."""

from __future__ import annotations

import resource
from pathlib import Path
from random import Random

from scripts.chaos.faults import Broken, Fault
from scripts.chaos.faults.targets import Target
from scripts.chaos.stage import Stage

_MORE = 3  # further descriptors


class DescriptorsUsedUp(Fault):
    """RLIMIT_NOFILE of the running process comes down to what it has open, and a few more."""

    seconds = (2.0, 6.0)

    def __init__(self, target: Target) -> None:
        self.target = target
        self.name = f"descriptors-used-up-in-{target.name}"
        self.sentence = f"The descriptors of {target.words} are used up, but for a few."
        self.touches = frozenset({target.role})

    def possible(self, stage: Stage) -> str:
        if not hasattr(resource, "prlimit"):
            return "it needs Linux's prlimit"
        return self.target.possible(stage)

    async def inject(self, stage: Stage, random: Random) -> Broken:
        (part,) = await self.target.pick(stage, random)
        limit = _highest(part.pid) + 1 + _MORE
        pid, old = part.pid, part.limit(resource.RLIMIT_NOFILE, limit)

        async def heal() -> None:
            if part.alive and part.pid == pid:
                part.limit(resource.RLIMIT_NOFILE, old)
            await part.start()

        return Broken(f"{part.name}: {limit} descriptors", heal)


def _highest(pid: int) -> int:
    """The highest descriptor that is open: the limit is on it, not on how many are open."""
    return max(int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir())


DESCRIPTORS = (
    DescriptorsUsedUp(Target("worker", "worker")),
    DescriptorsUsedUp(Target("api", "api")),
)
