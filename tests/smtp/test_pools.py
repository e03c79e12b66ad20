"""Pools: made when a destination is first used, dropped when it is not used."""

from __future__ import annotations

import asyncio
import gc
import weakref
from types import SimpleNamespace
from typing import cast

from babygun.routing.destination import Destination, to_relay
from babygun.routing.server import Server
from babygun.smtp import Pools, SmtpPool
from tests.smtp.conftest import TIMES, send
from tests.smtp.test_pool import settle
from tests.support.smtp_server import MisbehavingServer

ONE = to_relay("one", Server("one.example", 25))
TWO = to_relay("two", Server("two.example", 25))


class FakePool:
    """What :class:`Pools` sees of a pool."""

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self.connections = SimpleNamespace(needed=False)
        self.closed = asyncio.Event()

    async def close(self) -> None:
        self.closed.set()


def fake_pools(unused: float = 3600.0) -> Pools:
    return Pools(lambda destination, _: cast(SmtpPool, FakePool(destination)), unused=unused)


def get(pools: Pools, destination: Destination) -> FakePool:
    return cast(FakePool, pools.get(destination))


async def test_pool_is_made_when_its_destination_is_first_used_and_kept() -> None:
    pools = fake_pools()
    assert list(pools) == []
    first = get(pools, ONE)
    assert get(pools, ONE) is first and list(pools) == [first]
    await pools.close()
    assert first.closed.is_set() and list(pools) == []


async def test_pool_that_is_unused_is_dropped_and_made_again_when_needed() -> None:
    pools = fake_pools()
    one, two = get(pools, ONE), get(pools, TWO)
    pools.drop_unused()  # both were used since they were made
    get(pools, TWO)
    pools.drop_unused()
    assert list(pools) == [two]
    assert get(pools, ONE) is not one
    await pools.close()


async def test_pool_with_a_message_under_way_is_never_dropped() -> None:
    pools = fake_pools()
    one = get(pools, ONE)
    one.connections.needed = True
    for _ in range(3):
        pools.drop_unused()
    assert list(pools) == [one]
    one.connections.needed = False
    pools.drop_unused()
    assert list(pools) == []


async def test_unused_pools_are_dropped_by_themselves_in_time() -> None:
    pools = fake_pools(unused=0.01)
    for _ in range(2):  # the timer runs again
        get(pools, ONE)
        await settle(lambda: list(pools) == [])


async def test_pools_of_10_000_destinations_are_those_in_use_only() -> None:
    pools = fake_pools()
    destinations = [to_relay(f"q{n}", Server("mail.example", 25)) for n in range(10_000)]
    for destination in destinations:
        pools.get(destination)
    pools.drop_unused()
    for destination in destinations[:3]:
        pools.get(destination)
    pools.drop_unused()
    assert [pool.destination.name for pool in pools] == ["q0", "q1", "q2"]
    await pools.close()


async def test_unused_pool_is_dropped_once_its_idle_connection_has_gone() -> None:
    async with MisbehavingServer() as server:
        times = {**TIMES, "idle": 0.01}
        pools = Pools(
            lambda destination, _: SmtpPool(destination, hostname="sender.example", **times),
            unused=3600.0,
        )
        destination = to_relay("one", Server("127.0.0.1", server.port))
        first = pools.get(destination)
        await send(first, "a@example.org")
        pools.drop_unused()
        pools.drop_unused()
        assert list(pools) == [first]
        await settle(lambda: not first.connections.needed)
        pools.drop_unused()
        assert list(pools) == []
        await send(pools.get(destination), "b@example.org")
        await pools.close()
        assert server.commands["QUIT"] == 2 and server.sessions == 2


async def test_pool_that_is_dropped_is_freed_without_the_garbage_collector() -> None:
    async with MisbehavingServer() as server:
        times = {**TIMES, "idle": 0.01}
        pools = Pools(
            lambda destination, _: SmtpPool(destination, hostname="sender.example", **times),
            unused=3600.0,
        )
        destination = to_relay("one", Server("127.0.0.1", server.port))
        gc.disable()
        try:
            await send(pools.get(destination), "a@example.org")
            connections = weakref.ref(next(iter(pools)).connections)
            await settle(lambda: not next(iter(pools)).connections.needed)
            pools.drop_unused()
            pools.drop_unused()
            await settle(lambda: connections() is None)
        finally:
            gc.enable()
        await pools.close()
