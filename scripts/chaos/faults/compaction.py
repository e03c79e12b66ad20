"""etcd compacts what a process has not seen yet: its watches can't go on where they were."""

from __future__ import annotations

from functools import partial
from random import Random

from scripts.chaos.faults import Broken, Fault
from scripts.chaos.parts import Part, Role
from scripts.chaos.sockets import owner_of
from scripts.chaos.stage import LEASE_TTL, Stage


class CompactionUnderStaleWatch(Fault):
    """One process loses etcd. The others write, and etcd compacts to the newest revision."""

    def __init__(self, role: Role, words: str, *, seconds: tuple[float, float]) -> None:
        self._role, self.seconds = role, seconds
        self.name = f"compaction-under-stale-watch-of-{role}"
        self.sentence = (
            f"{words} is cut off from etcd. The others write on, and etcd compacts to the newest"
            " revision. So its watches can't go on."
        )
        self.touches = frozenset({"etcd", role})

    async def inject(self, stage: Stage, random: Random) -> Broken:
        part = random.choice(stage.workers if self._role == "worker" else stage.apis)
        before = [member.proxy.lets_in for member in stage.members]
        for member in stage.members:
            member.proxy.lets_in = partial(_is_of_another, part, member.proxy.port)
            member.proxy.cut_refused()

        async def heal() -> None:
            newest = (await stage.etcd.status()).revision
            await stage.etcd.compact(newest, timeout=30.0)
            for member, lets_in in zip(stage.members, before, strict=True):
                member.proxy.lets_in = lets_in

        return Broken(part.name, heal)


def _is_of_another(part: Part, port: int, caller: int) -> bool:
    """Whether the connection from the port ``caller`` to ``port`` is not of this process."""
    return owner_of(caller, port, [part.pid]) is None


COMPACTIONS = (
    CompactionUnderStaleWatch("worker", "A worker", seconds=(1.0, LEASE_TTL / 2)),
    CompactionUnderStaleWatch("api", "An API process", seconds=(1.0, 4.0)),
)
