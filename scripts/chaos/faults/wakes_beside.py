"""A worker wakes with results of jobs that another worker owns by now: only the token tells them.

Made certain: the relays are so slow that the next owner is still sending, and the worker sleeps
until etcd says that there is one.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random

from babygun.errors import EtcdError
from scripts.chaos.faults import Broken, Fault
from scripts.chaos.faults.owners import owned, until_owning
from scripts.chaos.faults.targets import processes
from scripts.chaos.stage import LEASE_TTL, Stage

_LATE = 2.2  # s, of each reply: a message takes some 5 s
_BEGUN = 2.8  # s, until some of its messages are out, and their replies are not there
_WITHIN = LEASE_TTL + 8.0  # s, until another worker must own its jobs
_POLL = 0.05  # s


class WakesBeside(Fault):
    name = "worker-wakes-beside-the-next-owner"
    sentence = (
        "All relays answer late. A worker with messages on their way is paused until another worker"
        " owns its jobs, and wakes while that one sends."
    )
    touches = frozenset({"worker", "relay"})
    seconds = (4.0, 6.0)

    def possible(self, stage: Stage) -> str:
        return "it needs two workers" if len(stage.workers) < 2 else ""

    async def inject(self, stage: Stage, random: Random) -> Broken:
        part = random.choice(processes(stage, "worker"))
        for relay in stage.relays:
            relay.proxy.slow(_LATE, answers_only=True)
        await until_owning(stage, [part])
        await asyncio.sleep(_BEGUN)
        jobs = await until_owning(stage, [part])
        part.pause()
        others = [each for each in stage.workers if each is not part]
        taken = 0
        try:
            async with asyncio.timeout(_WITHIN):
                while not taken:
                    await asyncio.sleep(_POLL)
                    with suppress(EtcdError):
                        taken = len(jobs & await owned(stage, others))
        except TimeoutError:
            pass  # another fault keeps the others from it
        finally:
            part.resume()

        async def heal() -> None:
            for relay in stage.relays:
                await relay.proxy.mend()
            await part.start()

        return Broken(f"{part.name}, {taken} of its {len(jobs)} jobs are another's", heal)


WAKES_BESIDE = WakesBeside()
