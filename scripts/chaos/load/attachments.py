"""E-mails with attachments, some of which need several keys in etcd."""

from __future__ import annotations

import asyncio
from random import Random

from scripts.chaos.clients import Clients
from scripts.chaos.load import Source

SIZES = (1_000, 20_000, 20_000, 200_000, 200_000, 1_000_000)  # bytes


class Attachments(Source):
    name = "attachment"
    sentence = "Sends e-mails with an attachment of 1 KB to 1 MB."
    share = 0.4

    async def run(self, clients: Clients, random: Random, rate: float) -> None:
        drafts = clients.drafts(random, self.name)
        while True:
            draft = drafts.one(now=clients.recorder.now(), size=random.choice(SIZES))
            await clients.send([draft], key=random.random() < 0.5)
            await asyncio.sleep(random.expovariate(rate))


ATTACHMENTS = Attachments()
