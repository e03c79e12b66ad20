"""Which processes a fault meets."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from scripts.chaos.parts import Part, Role
from scripts.chaos.stage import Stage

_WORDS = {
    "worker": ("a worker", "workers"),
    "api": ("an API process", "API processes"),
    "bounced": ("the process that takes bounce messages", "processes that take bounce messages"),
    "etcd": ("an etcd member", "etcd members"),
}


@dataclass(frozen=True)
class Target:
    """``count`` processes of a role, or all where it has fewer. ``name``: for the fault's name.

    ``least``: etcd members that the stage must have. ``leader``: etcd's leader is the first.
    """

    name: str
    role: Role
    count: int = 1
    least: int = 1
    leader: bool = False

    @property
    def words(self) -> str:
        """For a sentence."""
        if self.leader:
            return "etcd's leader"
        one, many = _WORDS[self.role]
        return one if self.count == 1 else f"{'two' if self.count == 2 else 'all'} {many}"

    def possible(self, stage: Stage) -> str:
        """Why the stage has no such processes, or empty."""
        if len(stage.members) < self.least:
            return f"it needs {self.least} etcd members: --members 3"
        if self.role != "etcd" and len(processes(stage, self.role)) < self.count:
            return f"one of the {_WORDS[self.role][1]} is spared"
        return ""

    async def pick(self, stage: Stage, random: Random) -> list[Part]:
        """The processes, by chance."""
        if self.leader and (leader := await stage.leader()):
            return [leader.part]
        found = processes(stage, self.role)
        return random.sample(found, min(self.count, len(found)))


LEADER = Target("etcd-leader", "etcd", least=3, leader=True)


def processes(stage: Stage, role: Role) -> list[Part]:
    """All processes of a role that a fault may end."""
    return [part for part in stage.parts if part.role == role and part not in stage.spared]
