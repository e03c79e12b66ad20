"""Measures how much of the load this machine carries, by the same stage and harness."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from random import Random

from scripts.chaos.clients import Clients
from scripts.chaos.leftovers import unfinished
from scripts.chaos.load import Source
from scripts.chaos.stage import Stage

FIRST = 60.0  # e-mails a second
FASTER = 1.4  # each step is so much faster than the one before, or slower
LEAST = 5.0  # e-mails a second: a stage that does not carry them is not measured further
STEP = 8.0  # s
BEHIND = 2.5  # s worth of e-mails that may be unfinished; deferred and scheduled ones always are
SENT = 0.6  # of the rate: if fewer come, the clients themselves can't send more
_POLL = 0.2  # s


@asynccontextmanager
async def flowing(
    sources: Sequence[Source], clients: Clients, seed: str, rate: float
) -> AsyncIterator[list[asyncio.Task[None]]]:
    """All sources send together, each its share of ``rate``, while the block runs."""
    shares = sum(source.share for source in sources)
    loads = [
        asyncio.create_task(
            source.run(clients, Random(f"{seed} {source.name}"), rate * source.share / shares),
            name=source.name,
        )
        for source in sources
    ]
    try:
        yield loads
    finally:
        for load in loads:
            load.cancel()
        await asyncio.gather(*loads, return_exceptions=True)


async def highest_rate(
    stage: Stage, sources: Sequence[Source], seed: int, say: Callable[[str], None], *, most: float
) -> float:
    """The highest rate in e-mails a second that this stage carries. It is found in steps.

    The search ends with the first rate of at least ``most`` that is carried. The harness runs on
    the same machine: its part is in it.
    """
    carries, rate = partial(_carries, stage, sources, seed, say), FIRST
    if await carries(rate):
        while rate < most and await carries(rate * FASTER):
            rate *= FASTER
        return rate
    while rate > LEAST:
        rate /= FASTER
        if await carries(rate):
            break
    return rate


async def _carries(
    stage: Stage, sources: Sequence[Source], seed: int, say: Callable[[str], None], rate: float
) -> bool:
    clients = stage.clients
    assert clients is not None
    asked = clients.counts["asked"]
    async with flowing(sources, clients, f"{seed} {rate}", rate):
        await asyncio.sleep(STEP)
        came = (clients.counts["asked"] - asked) / STEP
        left = len({ref.email_id for ref in await unfinished(stage.etcd)}) + clients.open
    say(f"{rate:.0f} e-mails a second: {came:.0f} were sent, {left} are unfinished")
    await _finished(stage, clients)
    return left <= BEHIND * rate and came >= SENT * rate


async def _finished(stage: Stage, clients: Clients) -> None:
    while True:
        if not clients.open and not await unfinished(stage.etcd):
            return
        await asyncio.sleep(_POLL)
