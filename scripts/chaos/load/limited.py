"""E-mails to a site that takes few connections and few messages, of all workers together."""

from __future__ import annotations

import asyncio
from random import Random

from scripts.chaos.clients import Clients
from scripts.chaos.load import Source
from scripts.chaos.mail_hosts import LIMITED_DOMAINS, RATE

MOST = RATE * 0.3  # e-mails a second: one slot of two can carry them, with their retries


class Limited(Source):
    name = "limited"
    sentence = "Sends e-mails to ten domains of a site with limits for all workers together."
    share = 0.8

    async def run(self, clients: Clients, random: Random, rate: float) -> None:
        drafts = clients.drafts(random, self.name, LIMITED_DOMAINS)
        while True:
            draft = drafts.one(now=clients.recorder.now())
            await clients.send([draft], key=random.random() < 0.5)
            await asyncio.sleep(random.expovariate(min(rate, MOST)))


LIMITED = Limited()
