"""Processes that die: SIGKILL, and SIGTERM as an operator sends it."""

from __future__ import annotations

import asyncio
from random import Random

from scripts.chaos.faults import Broken, Fault
from scripts.chaos.faults.owners import until_owning
from scripts.chaos.faults.targets import LEADER, Target
from scripts.chaos.stage import Stage


class Kill(Fault):
    """SIGKILL, of a worker while it owns a job. The processes start again at the healing."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.name = f"kill-{target.name}"
        self.sentence = f"SIGKILL of {target.words}. Started again at the healing."
        self.touches = frozenset({target.role})

    def possible(self, stage: Stage) -> str:
        return self.target.possible(stage)

    async def inject(self, stage: Stage, random: Random) -> Broken:
        parts = await self.target.pick(stage, random)
        if self.target.role == "worker":
            await until_owning(stage, parts)
        await asyncio.gather(*(part.kill() for part in parts))

        async def heal() -> None:
            await asyncio.gather(*(part.start() for part in parts))

        return Broken(", ".join(part.name for part in parts), heal)


class Terminate(Fault):
    """SIGTERM: a worker drains, an API process answers what it has begun."""

    seconds = (1.0, 3.0)

    def __init__(self, target: Target) -> None:
        self.target = target
        self.name = f"terminate-{target.name}"
        self.sentence = f"SIGTERM of {target.words}, and a wait for the end. Then started again."
        self.touches = frozenset({target.role})

    def possible(self, stage: Stage) -> str:
        return self.target.possible(stage)

    async def inject(self, stage: Stage, random: Random) -> Broken:
        parts = await self.target.pick(stage, random)
        in_time = await asyncio.gather(*(part.terminate() for part in parts))
        names = ", ".join(part.name for part in parts)

        async def heal() -> None:
            await asyncio.gather(*(part.start() for part in parts))

        return Broken(names if all(in_time) else f"{names}; SIGKILL after 30 s", heal)


KILLS = (
    Kill(Target("worker", "worker")),
    Kill(Target("both-workers", "worker", 2)),
    Kill(Target("api", "api")),
    Kill(Target("both-apis", "api", 2)),
    Kill(Target("bounced", "bounced")),
    Kill(Target("etcd-member", "etcd", least=2)),
    Kill(LEADER),
    Kill(Target("two-etcd-members", "etcd", 2, least=3)),
    Kill(Target("etcd", "etcd", 9)),
)
TERMINATIONS = (
    Terminate(Target("worker", "worker")),
    Terminate(Target("api", "api")),
    Terminate(Target("bounced", "bounced")),
    Terminate(Target("etcd-member", "etcd")),
    Terminate(LEADER),
)
