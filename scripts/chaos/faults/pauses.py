"""Processes that stand still: SIGSTOP keeps their connections, and nothing answers."""

from __future__ import annotations

import asyncio
from random import Random

from scripts.chaos.faults import Broken, Fault
from scripts.chaos.faults.targets import LEADER, Target
from scripts.chaos.stage import LEASE_TTL, Stage


class Pause(Fault):
    """SIGSTOP, and SIGCONT at the healing."""

    def __init__(
        self, target: Target, seconds: tuple[float, float], *, name: str = "", words: str = ""
    ) -> None:
        self.target, self.seconds = target, seconds
        self.name = name or f"pause-{target.name}"
        self.sentence = words or f"SIGSTOP of {target.words}. SIGCONT at the healing."
        self.touches = frozenset({target.role})

    def possible(self, stage: Stage) -> str:
        return self.target.possible(stage)

    async def inject(self, stage: Stage, random: Random) -> Broken:
        parts = await self.target.pick(stage, random)
        for part in parts:
            part.pause()

        async def heal() -> None:
            for part in parts:
                part.resume()
            # Ready again, of members together; one that has ended meanwhile starts.
            await asyncio.gather(*(part.start() for part in parts))

        return Broken(", ".join(part.name for part in parts), heal)


_SHORT = (0.5, LEASE_TTL / 2)
_PAST = (LEASE_TTL + 1.5, LEASE_TTL + 4.0)
PAUSES = (
    Pause(Target("worker", "worker"), _SHORT),
    Pause(
        Target("worker", "worker"),
        _PAST,
        name="pause-worker-past-lease",
        words="SIGSTOP of a worker for longer than its lease lasts. Then it wakes.",
    ),
    Pause(
        Target("both-workers", "worker", 2),
        _PAST,
        name="pause-both-workers-past-lease",
        words="SIGSTOP of both workers for longer than their leases last. Then they wake.",
    ),
    Pause(Target("api", "api"), (1.0, 5.0)),
    Pause(Target("bounced", "bounced"), (2.0, 6.0)),
    Pause(Target("etcd-member", "etcd", least=2), (1.0, 6.0)),
    Pause(LEADER, (2.0, 6.0)),
    Pause(Target("two-etcd-members", "etcd", 2, least=3), (1.0, 6.0)),
    Pause(Target("etcd", "etcd", 9), (0.5, 3.0)),
    Pause(
        Target("etcd", "etcd", 9),
        _PAST,
        name="pause-etcd-past-lease",
        words="SIGSTOP of all etcd members for longer than a worker's lease lasts.",
    ),
)
