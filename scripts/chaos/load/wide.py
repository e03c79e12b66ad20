"""E-mails to so many domains that each of their queues has a key of its own."""

from __future__ import annotations

import asyncio
from random import Random

from scripts.chaos.clients import Clients
from scripts.chaos.load import Source
from scripts.chaos.mail_hosts import TAIL_DOMAINS

SIZES = (17, 20, 40, 100)  # domains; from 17 queues on an e-mail is wide


class Wide(Source):
    name = "wide"
    sentence = "Sends e-mails to one recipient in each of 17 to 100 domains."
    share = 0.05

    async def run(self, clients: Clients, random: Random, rate: float) -> None:
        drafts = clients.drafts(random, self.name, TAIL_DOMAINS)
        while True:
            domains = random.sample(TAIL_DOMAINS, random.choice(SIZES))
            draft = drafts.to_each(domains, now=clients.recorder.now())
            await clients.send([draft], key=random.random() < 0.5)
            await asyncio.sleep(random.expovariate(rate))


WIDE = Wide()
