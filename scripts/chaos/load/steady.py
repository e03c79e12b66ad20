"""E-mails one by one, evenly."""

from __future__ import annotations

import asyncio
from random import Random

from scripts.chaos.clients import Clients
from scripts.chaos.load import Source


class Steady(Source):
    name = "steady"
    sentence = "Sends e-mails one by one. Every other one has an idempotency key."
    share = 5.0

    async def run(self, clients: Clients, random: Random, rate: float) -> None:
        drafts = clients.drafts(random, self.name)
        while True:
            draft = drafts.one(now=clients.recorder.now())
            await clients.send([draft], key=random.random() < 0.5)
            await asyncio.sleep(random.expovariate(rate))


STEADY = Steady()
