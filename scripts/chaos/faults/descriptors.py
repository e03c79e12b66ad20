"""A process has used up its file descriptors: it gets no new connection, and opens no file."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from scripts.chaos.faults import Broken, Fault
from scripts.chaos.faults.targets import Target
from scripts.chaos.stage import Stage

_MORE = 1  # descriptors that it can still open
_CALLERS = 8  # connections to an API process


class DescriptorsUsedUp(Fault):
    """RLIMIT_NOFILE of the running process comes down, so that it can open one more.

    Then it needs some: a worker's connections to the relays break, an API process is called.
    """

    seconds = (2.0, 6.0)

    def __init__(self, target: Target) -> None:
        self.target = target
        self.name = f"descriptors-used-up-in-{target.name}"
        self.sentence = f"The descriptors of {target.words} are used up, but for one."
        self.touches = frozenset({target.role, "relay"})

    def possible(self, stage: Stage) -> str:
        if not hasattr(resource, "prlimit"):
            return "it needs Linux's prlimit"
        return self.target.possible(stage)

    async def inject(self, stage: Stage, random: Random) -> Broken:
        (part,) = await self.target.pick(stage, random)
        limit = _limit(part.pid)
        undo = part.limit(resource.RLIMIT_NOFILE, limit)
        callers: list[asyncio.StreamWriter] = []
        if part.role == "worker":
            for relay in stage.relays:
                relay.proxy.cut()
        else:
            url = urlsplit(stage.url(part))
            for _ in range(_CALLERS):  # the kernel takes them all
                callers.append((await asyncio.open_connection(url.hostname, url.port))[1])

        async def heal() -> None:
            for caller in callers:
                caller.transport.abort()
            undo()
            await part.start()

        return Broken(f"{part.name}: {limit} descriptors", heal)


def _limit(pid: int) -> int:
    """Below it, all numbers but _MORE are taken. A new descriptor gets the lowest free number."""
    taken = {int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()}
    free = [number for number in range(len(taken) + _MORE) if number not in taken]
    return free[_MORE - 1] + 1


DESCRIPTORS = (
    DescriptorsUsedUp(Target("worker", "worker")),
    DescriptorsUsedUp(Target("api", "api")),
)
