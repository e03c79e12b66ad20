"""Relays that are away, hang, or say what no mail server says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from scripts.chaos.faults import Broken, Fault
from scripts.chaos.faults.meanwhile import ending
from scripts.chaos.faults.targets import processes
from scripts.chaos.receivers import Receiver
from scripts.chaos.stage import Relay, Stage

_RUBBISH = bytes(range(256)) * 4 + b"\r\n"
_TOUCHES = frozenset({"relay"})


class RelaysDown(Fault):
    """Nobody listens, for longer than all tries of an e-mail take: it expires, and is not lost."""

    name = "relays-down-past-all-tries"
    sentence = "All relays refuse connections, for longer than all tries of an e-mail take."
    touches = _TOUCHES
    seconds = (5.0, 9.0)

    async def inject(self, stage: Stage, random: Random) -> Broken:
        for relay in stage.relays:
            await relay.proxy.refuse()

        async def heal() -> None:
            for relay in stage.relays:
                await relay.proxy.mend()

        return Broken("all relays", heal)


class RelayNetwork(Fault):
    """The way to a relay by chance is broken."""

    touches = _TOUCHES

    def __init__(self, name: str, sentence: str, harm: Callable[[Relay], None]) -> None:
        self.name, self.sentence, self._harm = name, sentence, harm

    async def inject(self, stage: Stage, random: Random) -> Broken:
        relay = random.choice(stage.relays)
        self._harm(relay)
        return Broken(f"relay {relay.name}", relay.proxy.mend)


class RelayMisbehaves(Fault):
    """A relay by chance says something else. ``holds``: so that it is held."""

    def __init__(
        self, name: str, sentence: str, harm: Callable[[Receiver], None], *, holds: bool = False
    ) -> None:
        self.name, self.sentence, self._harm, self._holds = name, sentence, harm, holds
        self.touches = frozenset({"relay", "worker"}) if holds else _TOUCHES

    async def inject(self, stage: Stage, random: Random) -> Broken:
        relay = random.choice(stage.relays)
        self._harm(relay.receiver)
        relay.receiver.cut()  # the next session is a new one

        async def heal() -> None:
            relay.receiver.normal()
            relay.receiver.cut()
            if self._holds:  # as docs/delivery.md says: a worker that starts probes at once
                worker = random.choice(processes(stage, "worker"))
                await worker.terminate()
                await worker.start()

        return Broken(f"relay {relay.name}", heal)


class RelaysCut(Fault):
    """Connections break at any moment, also after the dot."""

    name = "relays-connections-cut"
    sentence = "All connections to the relays break, again and again, at most 0.5 s apart."
    touches = _TOUCHES

    async def inject(self, stage: Stage, random: Random) -> Broken:
        async def cut() -> None:
            while True:
                for relay in stage.relays:
                    relay.proxy.cut()
                await asyncio.sleep(random.uniform(0, 0.5))

        return Broken("all relays", ending(cut()))


def _say(receiver: Receiver, **what: object) -> None:
    for name, value in what.items():
        setattr(receiver, name, value)


RELAYS = (
    RelaysDown(),
    RelaysCut(),
    RelayNetwork(
        "relay-hangs",
        "A relay takes connections and says nothing.",
        lambda relay: relay.proxy.hang(),
    ),
    RelayNetwork(
        "relay-answers-lost",
        "A relay gets all that is sent; its replies are lost, also the 250 after the dot.",
        lambda relay: relay.proxy.swallow_answers(),
    ),
    RelayNetwork(
        "relay-slow",
        "Each piece between the workers and a relay comes 0.3 s late, either way.",
        lambda relay: relay.proxy.slow(0.3),
    ),
    RelayNetwork(
        "relay-drips",
        "A relay's replies come byte by byte, 0.05 s apart.",
        lambda relay: relay.proxy.drip(0.05),
    ),
    RelayMisbehaves(
        "relay-nonsense",
        "A relay sends rubbish instead of replies.",
        lambda receiver: _say(receiver, rubbish=_RUBBISH),
    ),
    RelayMisbehaves(
        "relay-refuses-session",
        "A relay refuses the session, so it is held. A worker restarts at the healing.",
        lambda receiver: _say(receiver, greeting="554 5.3.2 no service"),
        holds=True,
    ),
    RelayMisbehaves(
        "relay-refuses-mail",
        "A relay answers every MAIL with 451.",
        lambda receiver: _say(receiver, mail_reply="451 4.3.0 not now"),
    ),
)
