"""E-mails to domains that no relay takes: they go to the domains' mail hosts."""

from __future__ import annotations

import asyncio
from math import inf
from random import Random

from scripts.chaos.clients import Clients
from scripts.chaos.load import Source
from scripts.chaos.mail_hosts import TAIL_DOMAINS


class Straight(Source):
    """``most``: e-mails a second, whatever the rate of the run."""

    name = "straight"
    sentence = "Sends e-mails to the mail hosts of many domains, some of which defer at first."
    share = 2.0
    domains = TAIL_DOMAINS
    most = inf

    async def run(self, clients: Clients, random: Random, rate: float) -> None:
        drafts = clients.drafts(random, self.name, self.domains)
        while True:
            draft = drafts.one(now=clients.recorder.now())
            await clients.send([draft], key=random.random() < 0.5)
            await asyncio.sleep(random.expovariate(min(rate, self.most)))


STRAIGHT = Straight()
