"""A member of three that the others don't reach, while clients still reach it."""

from __future__ import annotations

from random import Random

from scripts.chaos.faults import Broken, Fault
from scripts.chaos.faults.targets import LEADER, Target
from scripts.chaos.stage import Stage


class CutOff(Fault):
    """The links between a member and the other members carry nothing."""

    touches = frozenset({"etcd"})

    def __init__(self, target: Target, *, seconds: tuple[float, float] = (3.0, 7.0)) -> None:
        self.target, self.seconds = target, seconds
        self.name = f"cut-off-{target.name}"
        self.sentence = f"The other members don't reach {target.words}; clients still do."

    def possible(self, stage: Stage) -> str:
        return self.target.possible(stage)

    async def inject(self, stage: Stage, random: Random) -> Broken:
        parts = await self.target.pick(stage, random)
        members = [stage.member_of(part) for part in parts]
        for member in members:
            stage.cut_off(member)

        async def heal() -> None:
            for member in members:
                stage.join_again(member)

        return Broken(", ".join(part.name for part in parts), heal)


CUT_OFF = (CutOff(Target("etcd-member", "etcd", least=3)), CutOff(LEADER))
