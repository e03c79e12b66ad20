"""A sending domain gets new DKIM keys while its mail is under way."""

from __future__ import annotations

from random import Random

from scripts.chaos.faults import Broken, Fault
from scripts.chaos.senders import HELD
from scripts.chaos.stage import Stage


class RotatedKeys(Fault):
    name = "rotate-dkim-keys"
    sentence = (
        "A sending domain gets new DKIM keys, and DNS their records, while mail is under way."
    )
    touches = frozenset({"domain"})
    seconds = (0.5, 2.0)

    async def inject(self, stage: Stage, random: Random) -> Broken:
        name = random.choice(HELD)
        await stage.senders.rotate(name)

        async def heal() -> None:
            """Nothing is broken."""

        return Broken(name, heal)


ROTATED_KEYS = RotatedKeys()
