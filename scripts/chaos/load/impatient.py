"""Clients that do not wait for the answer, and ask again."""

from __future__ import annotations

import asyncio
from random import Random

from scripts.chaos.clients import Clients
from scripts.chaos.load import Source


class Impatient(Source):
    name = "impatient"
    sentence = (
        "Gives up a call after 5 to 100 ms, and repeats it with the same key and more patience."
    )
    share = 1.0

    async def run(self, clients: Clients, random: Random, rate: float) -> None:
        drafts = clients.drafts(random, self.name)
        while True:
            size = random.choice((1, 1, 1, 8))
            now = clients.recorder.now()
            few = [drafts.one(now=now) for _ in range(size)]
            patience = random.uniform(0.005, 0.1)
            await clients.send(few, key=True, patience=patience, batch=size > 1)
            await asyncio.sleep(size * random.expovariate(rate))


IMPATIENT = Impatient()
