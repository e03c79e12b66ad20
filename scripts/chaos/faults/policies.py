"""Policy hosts that are away, and mail hosts whose TLS somebody takes out on the way."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from scripts.chaos.faults import Broken, Fault
from scripts.chaos.policies import Policies
from scripts.chaos.stage import Stage


class PolicyHost(Fault):
    """Policies that are known hold meanwhile."""

    touches = frozenset({"policy"})
    seconds = (3.0, 8.0)

    def __init__(self, name: str, sentence: str, harm: Callable[[Policies], None]) -> None:
        self.name, self.sentence, self._harm = name, sentence, harm

    async def inject(self, stage: Stage, random: Random) -> Broken:
        self._harm(stage.mail_hosts.policies)
        return Broken("the policy host", stage.mail_hosts.policies.heal)


class PolicyHostAway(Fault):
    name = "policy-host-away"
    sentence = "The host that has the MTA-STS policies refuses connections."
    touches = frozenset({"policy"})
    seconds = (3.0, 8.0)

    async def inject(self, stage: Stage, random: Random) -> Broken:
        policies = stage.mail_hosts.policies
        await policies.stop_host()
        return Broken("the policy host", policies.heal)


class Stripped(Fault):
    name = "starttls-stripped"
    sentence = "Somebody on the way takes STARTTLS out of what a mail host offers."
    touches = frozenset({"policy", "site"})
    seconds = (3.0, 8.0)

    async def inject(self, stage: Stage, random: Random) -> Broken:
        host = stage.mail_hosts.policies.good
        host.stripped = True
        host.cut()

        async def heal() -> None:
            host.normal()

        return Broken(host.name, heal)


POLICIES = (
    PolicyHostAway(),
    PolicyHost(
        "policy-host-fails",
        "The host that has the MTA-STS policies answers with an error.",
        Policies.fail,
    ),
    PolicyHost(
        "policy-host-stalls",
        "The host that has the MTA-STS policies takes requests, and says nothing.",
        Policies.stall,
    ),
    Stripped(),
)
