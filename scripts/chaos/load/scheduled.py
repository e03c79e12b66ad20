"""E-mails for a time that is still to come."""

from __future__ import annotations

import asyncio
from random import Random

from scripts.chaos.clients import Clients
from scripts.chaos.load import Source


class Scheduled(Source):
    name = "scheduled"
    sentence = "Sends e-mails with a send_at that is up to five seconds ahead."
    share = 1.0

    async def run(self, clients: Clients, random: Random, rate: float) -> None:
        drafts = clients.drafts(random, self.name)
        while True:
            draft = drafts.one(now=clients.recorder.now(), send_in=random.uniform(0.3, 5.0))
            await clients.send([draft], key=True)
            await asyncio.sleep(random.expovariate(rate))


SCHEDULED = Scheduled()
