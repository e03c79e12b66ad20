"""The network between Babygun's processes and etcd, broken by the proxies before etcd's members."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from scripts.chaos.faults import Broken, Fault
from scripts.chaos.faults.meanwhile import ending
from scripts.chaos.proxy import Proxy
from scripts.chaos.stage import LEASE_TTL, Stage

_CUTS = 0.4  # s, at most, between two cuts


class EtcdNetwork(Fault):
    """Breaks the way to all members, or to one by chance.

    ``late``: at the healing arrives what was held back; else it is lost with its connection.
    """

    touches = frozenset({"etcd"})

    def __init__(
        self,
        name: str,
        sentence: str,
        harm: Callable[[Proxy], None],
        *,
        seconds: tuple[float, float] = (1.0, 5.0),
        late: bool = False,
        one: bool = False,
    ) -> None:
        self.name, self.sentence, self.seconds = name, sentence, seconds
        self._harm, self._late, self._one = harm, late, one

    def possible(self, stage: Stage) -> str:
        few = self._one and len(stage.members) < 3
        return "it needs 3 etcd members: --members 3" if few else ""

    async def inject(self, stage: Stage, random: Random) -> Broken:
        members = [random.choice(stage.members)] if self._one else stage.members
        proxies = [member.proxy for member in members]
        for proxy in proxies:
            self._harm(proxy)

        async def heal() -> None:
            for proxy in proxies:
                await proxy.mend(late=self._late)

        return Broken("the way to " + ", ".join(member.part.name for member in members), heal)


class EtcdRefused(Fault):
    """Nobody listens at etcd's address."""

    touches = frozenset({"etcd"})

    def __init__(self, name: str, sentence: str, seconds: tuple[float, float]) -> None:
        self.name, self.sentence, self.seconds = name, sentence, seconds

    async def inject(self, stage: Stage, random: Random) -> Broken:
        proxies = [member.proxy for member in stage.members]
        for proxy in proxies:
            await proxy.refuse()

        async def heal() -> None:
            for proxy in proxies:
                await proxy.mend()

        return Broken("the way to all members", heal)


class EtcdCut(Fault):
    """Connections break again and again, at any moment of a request."""

    name = "etcd-connections-cut"
    sentence = "All connections to etcd break, again and again, at most 0.4 s apart."
    touches = frozenset({"etcd"})
    seconds = (1.0, 4.0)

    async def inject(self, stage: Stage, random: Random) -> Broken:
        async def cut() -> None:
            while True:
                for member in stage.members:
                    member.proxy.cut()
                await asyncio.sleep(random.uniform(0, _CUTS))

        return Broken("all connections", ending(cut()))


_PAST = (LEASE_TTL + 1.0, LEASE_TTL + 3.0)
NETWORK = (
    EtcdNetwork(
        "etcd-slow",
        "Each piece between the processes and etcd comes 0.2 s late, either way.",
        lambda proxy: proxy.slow(0.2),
        seconds=(2.0, 6.0),
    ),
    EtcdNetwork(
        "etcd-answers-lost",
        "Requests reach etcd, which commits; the answers are lost with their connections.",
        lambda proxy: proxy.swallow_answers(),
    ),
    EtcdNetwork(
        "etcd-answers-late",
        "Requests reach etcd, which commits; the answers come seconds later.",
        lambda proxy: proxy.swallow_answers(),
        late=True,
    ),
    EtcdNetwork(
        "etcd-answers-lost-past-lease",
        "Requests reach etcd; the answers are lost for longer than a worker's lease lasts.",
        lambda proxy: proxy.swallow_answers(),
        seconds=_PAST,
    ),
    EtcdNetwork(
        "etcd-requests-late",
        "Requests are held back, and reach etcd seconds later.",
        lambda proxy: proxy.swallow_requests(),
        late=True,
        seconds=(1.0, LEASE_TTL + 2.0),
    ),
    EtcdNetwork(
        "etcd-requests-lost",
        "Requests are lost with their connections; what etcd sends still comes through.",
        lambda proxy: proxy.swallow_requests(),
    ),
    EtcdNetwork(
        "one-etcd-member-silent",
        "One member takes connections and lets nothing through.",
        lambda proxy: proxy.hang(),
        one=True,
    ),
    EtcdRefused("etcd-refused", "Nobody listens at etcd's addresses for a while.", (1.0, 4.0)),
    EtcdRefused(
        "etcd-refused-past-lease",
        "Nobody listens at etcd's addresses for longer than a worker's lease lasts.",
        _PAST,
    ),
    EtcdCut(),
)
