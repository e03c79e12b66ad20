"""E-mails to addresses that do not exist, again and again."""

from __future__ import annotations

import asyncio
from random import Random

from scripts.chaos.clients import Clients
from scripts.chaos.load import Source

ADDRESSES = 400  # so many that some bounce for the first time all through a run


class Dead(Source):
    name = "dead"
    sentence = "Sends e-mails to addresses that bounce, each several times, and to a good one too."
    share = 0.5

    async def run(self, clients: Clients, random: Random, rate: float) -> None:
        drafts = clients.drafts(random, self.name)
        while True:
            place = random.randrange(ADDRESSES)
            draft = drafts.to_dead(f"dead-{place}", place, now=clients.recorder.now())
            await clients.send([draft], key=random.random() < 0.5)
            await asyncio.sleep(random.expovariate(rate))


DEAD = Dead()
