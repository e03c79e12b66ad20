"""Recipients who want their data erased, while their mail waits, is sent or is final."""

from __future__ import annotations

import asyncio
from random import Random
from urllib.parse import quote

from scripts.chaos.clients import Clients
from scripts.chaos.history import Erased
from scripts.chaos.load import Source
from scripts.chaos.mail import Draft
from scripts.chaos.mail_hosts import TAIL_DOMAINS

# An erasure reads all records, and all events of webhooks. So the pause after it is so many times
# as long as its last pass took, but not longer than this: that may have waited for a fault to end.
PAUSE, LONGEST_PAUSE = 3.0, 6.0  # times, s
WIDE = 17  # queues, from which on each has a key of its own
_OTHERS = (0, 0, 1, 3, 3, WIDE)  # recipients beside the one that is erased
_SEND_IN = (None, None, 4.0)  # s
_PATIENCE = (0.0, 0.0, 0.5, 3.0)  # s, from the acceptance to the erasure
_AGAIN = 0.3  # s, while its mail is being sent


class Erasures(Source):
    name = "erasures"
    sentence = "Sends e-mails to one or several recipients, and has one of them erased."
    share = 0.4

    async def run(self, clients: Clients, random: Random, rate: float) -> None:
        drafts = clients.drafts(random, self.name)
        passes = [0.0]  # seconds that each took
        while True:
            count = random.choice(_OTHERS)
            # To relays, so that several are of one queue; or each of another domain.
            others = (
                random.sample(TAIL_DOMAINS, WIDE)
                if count == WIDE
                else random.choices(drafts.domains, k=count)
            )
            draft, address = drafts.to_erase(
                others, now=clients.recorder.now(), send_in=random.choice(_SEND_IN)
            )
            patience = random.choice(_PATIENCE)
            clients.start(_sent_then_erased(clients, draft, address, patience, passes))
            pause = min(PAUSE * passes[-1], LONGEST_PAUSE)
            await asyncio.sleep(random.expovariate(rate) + pause)


async def _sent_then_erased(
    clients: Clients, draft: Draft, address: str, patience: float, passes: list[float]
) -> None:
    if await clients.accepted_one(draft):
        await asyncio.sleep(patience)
        await _erase(clients, address, passes)


async def _erase(clients: Clients, address: str, passes: list[float]) -> None:
    """Repeats the calls until all was read, and nothing of the address was under way."""
    path = f"/recipients/{quote(address)}"
    while True:
        begin, under_way, cursor = clients.recorder.now(), 0, ""
        while cursor is not None:
            query = f"?cursor={quote(cursor)}" if cursor else ""
            report, _ = await clients.until_done("erase", path + query)
            under_way, cursor = under_way + report["under_way"], report["cursor"]
        passes.append(clients.recorder.now() - begin)
        if not under_way:
            clients.recorder.add(Erased(clients.recorder.now(), address))
            clients.counts["erased"] += 1
            return
        await asyncio.sleep(_AGAIN)


ERASURES = Erasures()
