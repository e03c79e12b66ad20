"""E-mails to domains that enforce a TLS policy. Some of their hosts do not do what it demands."""

from __future__ import annotations

from random import Random

from scripts.chaos.clients import Clients
from scripts.chaos.load.straight import Straight
from scripts.chaos.policies import POLICY_DOMAINS


class Enforcing(Straight):
    name = "enforcing"
    sentence = (
        "Sends e-mails to domains that enforce MTA-STS, some of which break their own policy."
    )
    share = 0.5
    domains = POLICY_DOMAINS

    async def run(self, clients: Clients, random: Random, rate: float) -> None:
        """The first e-mail goes to all of them, so that their policies are known early."""
        first = clients.drafts(random, self.name, self.domains)
        await clients.send([first.to_each(self.domains, now=clients.recorder.now())], key=True)
        await super().run(clients, random, rate)


ENFORCING = Enforcing()
