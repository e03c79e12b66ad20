"""Batches, with and without keys."""

from __future__ import annotations

import asyncio
from random import Random

from scripts.chaos.clients import Clients
from scripts.chaos.load import Source

SIZES = (2, 150)  # more than 100 are stored in two parts


class Batches(Source):
    name = "batch"
    sentence = "Sends batches of 2 to 150 e-mails, most with an idempotency key."
    share = 4.0

    async def run(self, clients: Clients, random: Random, rate: float) -> None:
        drafts = clients.drafts(random, self.name)
        while True:
            size = random.choice((SIZES[0], 5, 10, 20, SIZES[1]))
            now = clients.recorder.now()
            batch = [drafts.one(now=now) for _ in range(size)]
            await clients.send(batch, key=random.random() < 0.7, batch=True)
            await asyncio.sleep(size / rate * random.uniform(0.5, 1.5))


BATCHES = Batches()
