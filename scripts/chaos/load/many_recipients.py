"""E-mails to many recipients, of several queues."""

from __future__ import annotations

import asyncio
from random import Random

from scripts.chaos.clients import Clients
from scripts.chaos.load import Source


class ManyRecipients(Source):
    name = "many"
    sentence = "Sends e-mails to 2 to 30 recipients of all relays, in to, cc and bcc."
    share = 1.0

    async def run(self, clients: Clients, random: Random, rate: float) -> None:
        drafts = clients.drafts(random, self.name)
        while True:
            draft = drafts.to_many(random.choice((2, 3, 5, 30)), now=clients.recorder.now())
            await clients.send([draft], key=random.random() < 0.5)
            await asyncio.sleep(random.expovariate(rate))


MANY_RECIPIENTS = ManyRecipients()
