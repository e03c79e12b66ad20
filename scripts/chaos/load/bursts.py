"""Many e-mails at once, then none."""

from __future__ import annotations

import asyncio
from random import Random

from scripts.chaos.clients import Clients
from scripts.chaos.load import Source

EVERY = 3.0  # s


class Bursts(Source):
    name = "burst"
    sentence = "Sends its e-mails at once every three seconds, each as a call of its own."
    share = 2.0

    async def run(self, clients: Clients, random: Random, rate: float) -> None:
        drafts = clients.drafts(random, self.name)
        while True:
            await asyncio.sleep(EVERY * random.uniform(0.5, 1.5))
            for _ in range(max(1, round(rate * EVERY))):
                draft = drafts.one(now=clients.recorder.now())
                await clients.send([draft], key=random.random() < 0.5)


BURSTS = Bursts()
