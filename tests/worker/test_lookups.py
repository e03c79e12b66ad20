"""Domains that move to other mail hosts while the site of their old ones is held."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from ipaddress import ip_network

import pytest

from babygun.dns import resolver as dns_resolver
from babygun.runtime.settings import Settings
from babygun.store import codec
from babygun.store.records import Hold
from babygun.store.sites import holds as store_holds
from babygun.store.sites.holds import list_holds
from babygun.worker import lookups
from tests.support.dns_servers import Zone, scripted
from tests.support.etcd_server import free_ports
from tests.support.invariants import check_invariants
from tests.support.rig import Rig, quick, rig_for
from tests.support.smtp_server import MisbehavingServer
from tests.worker.sites.test_holds import has_its_turn

OLD, NEW = "127.0.0.84", "127.0.0.85"
SITE = "mx:mx.old.example"
HOUR = 3600.0


class World:
    """The mail of a.example and b.example goes to one host, where nobody listens."""

    def __init__(self, rig: Rig, port: int, zone: Zone, stack: AsyncExitStack) -> None:
        self.rig, self._port, self._zone, self._stack = rig, port, zone, stack

    async def server(self, host: str) -> MisbehavingServer:
        server = MisbehavingServer(port=self._port)
        server.host = host
        return await self._stack.enter_async_context(server)

    def move(self, domain: str) -> None:
        self._zone.records[domain, "MX"] = ["10 mx.new.example."]

    async def held(self) -> Hold:
        """The site's hold, once there is one, and no try is under way any more."""
        keys = self.rig.store.keys
        hold = await self.rig.seen(keys.hold(SITE), lambda value: codec.decode_state(value, Hold))
        assert isinstance(hold, Hold)
        await self.rig.emptied(keys.owners)
        return hold

    async def send(self, domain: str, count: int) -> list[str]:
        return [await self.rig.send(f"user{n}@{domain}") for n in range(count)]

    async def tries(self, ids: list[str]) -> list[int]:
        return [(await self.rig.get(email_id)).recipients[0].tries for email_id in ids]


@pytest.fixture
async def world(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """No turn to probe comes by itself. DNS is asked at each lookup."""
    monkeypatch.setattr(store_holds, "PROBE_WAITS", (HOUR,))
    monkeypatch.setattr(dns_resolver, "_LONGEST", 0.0)
    zone = Zone(
        {
            ("a.example", "MX"): ["10 mx.old.example."],
            ("b.example", "MX"): ["10 mx.old.example."],
            ("mx.old.example", "A"): [OLD],
            ("mx.new.example", "A"): [NEW],
        }
    )
    (port,) = free_ports(1)
    async with (
        AsyncExitStack() as stack,
        scripted(zone) as resolver,
        rig_for(
            quick(
                settings,
                {},
                default="mx",
                resolvers=(resolver,),
                mx_port=port,
                mx_retry_intervals=(0.2,),
                mx_expires_after=100.0,
                allow_networks=(ip_network("127.0.0.0/8"),),
            )
        ) as rig,
    ):
        yield World(rig, port, zone, stack)


async def test_domain_that_moved_leaves_the_site_that_is_held_without_a_probe(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither does its mail go once more to the hosts that were remembered."""
    monkeypatch.setattr(lookups, "AGAIN", 0.2)
    server = await world.server(NEW)
    moving, staying = await world.send("a.example", 50), await world.send("b.example", 5)
    async with world.rig.worker():
        hold = await world.held()
        before = await world.tries(moving)
        world.move("a.example")
        emails = await world.rig.ended(*moving)
        assert {email.status for email in emails} == {"complete"}
        assert [each - 1 for each in await world.tries(moving)] == before
        assert len(server.messages) == 50
        [still] = await list_holds(world.rig.store)
        assert still.since == hold.since and not still.probes
        assert {(await world.rig.get(email_id)).status for email_id in staying} == {"incomplete"}
    await check_invariants(world.rig.store)


async def test_probe_that_reaches_another_site_takes_its_domain_there_and_leaves_its_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its turn, the mail of the other domain would wait for the next one: an hour."""
    monkeypatch.setattr(lookups, "AGAIN", HOUR)
    monkeypatch.setattr("babygun.routing.mx_destinations._FRESH", 0.0)
    new = await world.server(NEW)
    moving = await world.send("a.example", 50)
    async with world.rig.worker():
        hold = await world.held()
        staying = await world.send("b.example", 5)
        world.move("a.example")
        old = await world.server(OLD)
        await has_its_turn(world.rig, hold)
        emails = await world.rig.ended(*moving, *staying)
        assert {email.status for email in emails} == {"complete"}
        assert (len(new.messages), len(old.messages)) == (50, 5)
        await world.rig.emptied(world.rig.store.keys.holds)
    await check_invariants(world.rig.store)
