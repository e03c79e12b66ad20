"""A client whose secret is changed again and again. It asks for tokens with old ones, too."""

from __future__ import annotations

import asyncio
from random import Random

from scripts.chaos.clients import Clients, Login
from scripts.chaos.history import SecretTried
from scripts.chaos.load import Source
from scripts.chaos.load.daily_limit import new_client

GRACES = (3, 600)  # s: the first ones end while they are tried
PAUSE = 4.0  # s, between two tries of all


class Secrets(Source):
    name = "secrets"
    sentence = "Changes a client's secret, and asks for tokens with this one and the two before."
    share = 0.05

    async def run(self, clients: Clients, random: Random, rate: float) -> None:
        name = f"{self.name}-{random.randrange(10**9)}"
        login = await new_client(clients, name, {"name": self.name})
        secrets = [login.secret]  # the newest first
        while True:
            grace = random.choice(GRACES)
            begun = clients.recorder.now()
            made, calls = await clients.until_done(
                "rotate-secret", f"/clients/{name}/secret", {"previous_for": grace}
            )
            # A call whose answer was lost may have made one that nobody knows.
            secrets = [made["client_secret"], *(secrets if calls == 1 else [])][:3]
            rotated = begun, clients.recorder.now()
            for _ in range(2):
                logins = [Login(name, secret) for secret in secrets]
                await _try_all(clients, logins, rotated, grace)
                await asyncio.sleep(PAUSE)


async def _try_all(
    clients: Clients, logins: list[Login], rotated: tuple[float, float], grace: float
) -> None:
    recorder = clients.recorder
    for place, login in enumerate(logins):
        for api in clients.apis:
            asked = recorder.now()
            status = await clients.sign_in(login, api)
            recorder.add(SecretTried(recorder.now(), asked, place, rotated, grace, status))


SECRETS = Secrets()
