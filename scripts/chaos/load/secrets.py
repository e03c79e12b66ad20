"""A client whose secret is changed again and again. It asks for tokens with old ones, too."""

from __future__ import annotations

import asyncio
from random import Random
from typing import NamedTuple

from scripts.chaos.clients import Clients, Login
from scripts.chaos.history import SecretTried
from scripts.chaos.load import Source
from scripts.chaos.load.daily_limit import new_client

GRACES = (3, 30)  # s: they end while the secrets are tried
PAUSE = 4.0  # s, between two tries of all
MOST = 4  # that are tried


class _Secret(NamedTuple):
    """``ended``: when the next one was asked for, and given; of the newest one, itself."""

    login: Login
    ended: tuple[float, float]
    grace: float


class Secrets(Source):
    name = "secrets"
    sentence = "Changes a client's secret, and asks for tokens with this one and those before."
    share = 0.05

    async def run(self, clients: Clients, random: Random, rate: float) -> None:
        name, recorder = f"{self.name}-{random.randrange(10**9)}", clients.recorder
        newest, older = await new_client(clients, name, {"name": self.name}), list[_Secret]()
        while True:
            grace, begun = random.choice(GRACES), recorder.now()
            while True:
                made, _ = await clients.until_done(
                    "rotate-secret", f"/clients/{name}/secret", {"previous_for": grace}
                )
                if made is not None:
                    break
                await asyncio.sleep(PAUSE)  # too many are taken: answers were lost
            rotated = begun, recorder.now()
            older = [_Secret(newest, rotated, grace), *older][:MOST]
            newest = Login(name, made["client_secret"])
            tried = [_Secret(newest, rotated, grace), *older]
            for _ in range(2):
                await _try_all(clients, tried)
                await asyncio.sleep(PAUSE)


async def _try_all(clients: Clients, secrets: list[_Secret]) -> None:
    recorder = clients.recorder
    for place, (login, ended, grace) in enumerate(secrets):
        for api in clients.apis:
            asked = recorder.now()
            status = await clients.sign_in(login, api)
            recorder.add(SecretTried(recorder.now(), asked, place, ended, grace, status))


SECRETS = Secrets()
