"""Mail hosts that are away, take connections and say nothing, or ask for less."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from scripts.chaos.faults import Broken, Fault
from scripts.chaos.mail_hosts import PROVIDER
from scripts.chaos.receivers import Receiver
from scripts.chaos.stage import Stage


class HostDown(Fault):
    name = "mail-host-down"
    sentence = "A mail host refuses connections. Its domains' mail goes to their second host."
    touches = frozenset({"site"})
    seconds = (3.0, 8.0)

    async def inject(self, stage: Stage, random: Random) -> Broken:
        host = random.choice(list(stage.mail_hosts.by_name.values()))
        await host.stop()

        async def heal() -> None:
            await host.start()
            await stage.end_holds(f"mx:{host.name}")

        return Broken(host.name, heal)


class SiteMisbehaves(Fault):
    """All mail hosts of a site say something else. The holds that this made end at the healing.

    ``limited``: that of the limited site; else two neighbours, so that no second host helps.
    """

    touches = frozenset({"site"})
    seconds = (3.0, 9.0)

    def __init__(
        self, name: str, sentence: str, harm: Callable[[Receiver], None], *, limited: bool = False
    ) -> None:
        self.name, self.sentence, self._harm, self._limited = name, sentence, harm, limited

    async def inject(self, stage: Stage, random: Random) -> Broken:
        if self._limited:
            hosts = [stage.mail_hosts.limited]
        else:
            found = list(stage.mail_hosts.by_name.values())
            place = random.randrange(len(found))
            hosts = [found[place], found[(place + 1) % len(found)]]
        for host in hosts:
            self._harm(host)
            host.cut()

        async def heal() -> None:
            for host in hosts:
                host.normal()
                host.cut()
            await stage.end_holds(f"mx:{PROVIDER}", *(f"mx:{host.name}" for host in hosts))

        return Broken(", ".join(host.name for host in hosts), heal)


def _say(receiver: Receiver, **what: object) -> None:
    for name, value in what.items():
        setattr(receiver, name, value)


SITES = (
    HostDown(),
    SiteMisbehaves(
        "site-is-a-black-hole",
        "Two mail hosts take connections and say nothing.",
        lambda receiver: _say(receiver, silent=True),
    ),
    SiteMisbehaves(
        "site-refuses-sessions",
        "Two mail hosts refuse every session.",
        lambda receiver: _say(receiver, greeting="554 5.7.1 no service for you"),
    ),
    SiteMisbehaves(
        "limited-site-is-a-black-hole",
        "The limited site takes connections and says nothing.",
        lambda receiver: _say(receiver, silent=True),
        limited=True,
    ),
    SiteMisbehaves(
        "limited-site-says-slower",
        "The limited site answers MAIL with a reply that asks for less.",
        lambda receiver: _say(receiver, mail_reply="451 4.7.0 please slow down"),
        limited=True,
    ),
)
