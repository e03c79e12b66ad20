"""A client with a rate and a daily limit, which an operator raises now and then."""

from __future__ import annotations

import asyncio
from random import Random

from scripts.chaos.clients import Clients, Login
from scripts.chaos.load import Source

EVERY = 10.0  # s, after which the limit is raised
LEAST = 5  # recipients, by which it is raised
RATE = 5.0  # e-mails a second, that the client may send
SIZES = (1, 1, 1, 12)  # e-mails at once: the last are more than the rate takes


class DailyLimit(Source):
    name = "daily-limit"
    sentence = "Sends e-mails of a client with a rate, and with a daily limit that it uses up."
    share = 0.8

    async def run(self, clients: Clients, random: Random, rate: float) -> None:
        limit = step = max(LEAST, int(rate * EVERY))  # about half of the recipients
        body = {"name": self.name, "rate": RATE, "recipients_per_day": limit}
        login = await new_client(clients, f"{self.name}-{random.randrange(10**9)}", body)
        drafts = clients.drafts(random, self.name, holds=False)
        raised = clients.recorder.now()
        while True:
            if clients.recorder.now() > raised + EVERY:
                limit, raised = limit + step, clients.recorder.now()
                path = f"/clients/{login.client_id}"
                await clients.until_done("change-client", path, {"recipients_per_day": limit})
            size = random.choice(SIZES)
            for _ in range(size):
                draft = drafts.to_many(random.choice((1, 2, 3)), now=clients.recorder.now())
                await clients.send([draft], key=random.random() < 0.5, login=login)
            await asyncio.sleep(size * random.expovariate(rate))


async def new_client(clients: Clients, name: str, body: dict[str, object]) -> Login:
    """Makes a client with this id."""
    wanted = {"id": name, "scopes": ["emails:send"], **body}
    made, calls = await clients.until_done("make-client", "/clients", wanted)
    if made is None and calls > 1:  # made by a call whose answer was lost, and its secret with it
        made, _ = await clients.until_done("rotate-secret", f"/clients/{name}/secret", {})
    return Login(name, made["client_secret"])


DAILY_LIMIT = DailyLimit()
