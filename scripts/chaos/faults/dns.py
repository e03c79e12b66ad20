"""DNS that fails, says nothing, or leads mail to where it must not go."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from scripts.chaos.faults import Broken, Fault
from scripts.chaos.mail_hosts import lying_addresses, lying_names
from scripts.chaos.name_server import NameServer
from scripts.chaos.stage import HOSTNAME, Stage


class Dns(Fault):
    """Workers remember answers, so it meets the domains whose answers have become old."""

    touches = frozenset({"dns"})
    seconds = (3.0, 8.0)

    def __init__(self, name: str, sentence: str, harm: Callable[[NameServer], None]) -> None:
        self.name, self.sentence, self._harm = name, sentence, harm

    async def inject(self, stage: Stage, random: Random) -> Broken:
        server = stage.mail_hosts.dns
        self._harm(server)

        async def heal() -> None:
            server.normal()

        return Broken("the name server", heal)


def _say(server: NameServer, **what: object) -> None:
    for name, value in what.items():
        setattr(server, name, value)


DNS = (
    Dns(
        "dns-fails",
        "The name server answers SERVFAIL.",
        lambda server: _say(server, failing=True),
    ),
    Dns(
        "dns-hangs",
        "The name server takes questions and says nothing.",
        lambda server: _say(server, silent=True),
    ),
    Dns(
        "dns-lies-about-addresses",
        "All mail hosts have addresses that are not public. Nobody may dial one of them.",
        lambda server: _say(server, lies=lying_addresses()),
    ),
    Dns(
        "dns-lies-about-hosts",
        "All domains have this very server as their mail host.",
        lambda server: _say(server, lies=lying_names(HOSTNAME)),
    ),
)
