"""Clients that change their mind about e-mails that others have sent."""

from __future__ import annotations

import asyncio
from random import Random

from scripts.chaos.clients import Clients
from scripts.chaos.history import Call
from scripts.chaos.load import Source

CALLS: tuple[Call, ...] = ("cancel", "retry", "send-now", "change", "read")
RECENT = 60  # of the newest e-mails all but retries and reads take one: older ones are final


class CancelsAndRetries(Source):
    name = "changes"
    sentence = "Cancels, retries, hurries and changes e-mails of the others, and reads some."
    share = 1.0

    async def run(self, clients: Clients, random: Random, rate: float) -> None:
        while True:
            await asyncio.sleep(random.expovariate(rate))
            if not clients.accepted:
                continue
            call = random.choice(CALLS)
            newest = list(clients.accepted)[-RECENT:]
            chosen = clients.accepted if call in ("retry", "read") else newest
            clients.start_change(call, random.choice(chosen))


CANCELS_AND_RETRIES = CancelsAndRetries()
