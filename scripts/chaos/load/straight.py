"""E-mails to domains that no relay takes: they go to the domains' mail hosts."""

from __future__ import annotations

import asyncio
from random import Random

from scripts.chaos.clients import Clients
from scripts.chaos.load import Source
from scripts.chaos.mail_hosts import TAIL_DOMAINS


class Straight(Source):
    name = "straight"
    sentence = "Sends e-mails to the mail hosts of many domains, some of which defer at first."
    share = 2.0

    async def run(self, clients: Clients, random: Random, rate: float) -> None:
        drafts = clients.drafts(random, self.name, TAIL_DOMAINS)
        while True:
            draft = drafts.one(now=clients.recorder.now())
            await clients.send([draft], key=random.random() < 0.5)
            await asyncio.sleep(random.expovariate(rate))


STRAIGHT = Straight()
