"""Connections are opened by permits of the site, and each permit is given back exactly once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from babygun.routing.destination import to_relay
from babygun.routing.server import Server
from babygun.smtp import NotSent, SmtpPool
from tests.smtp.conftest import TIMES, send
from tests.smtp.scripted import Peer, ScriptedServer
from tests.smtp.test_pool import settle
from tests.support.smtp_server import MisbehavingServer


class Ticket:
    """One permit of :class:`Few`."""

    def __init__(self, site: Few, wanted: Callable[[], None]) -> None:
        self.site, self.wanted = site, wanted
        self.lost = self.asked = False
        self.given_back = 0
        self.messages = 0

    async def pace(self) -> None:
        self.site.paced += 1
        await self.site.may_go.wait()

    def used(self) -> bool:
        self.messages += 1
        self.site.tickets.move_to_end(self)
        urgent = any(urgent for _, urgent in self.site.callbacks)
        return urgent or self.messages >= self.site.messages_per_connection

    def ask(self) -> None:
        self.asked = True
        self.wanted()

    def give_back(self) -> None:
        self.given_back += 1
        self.site.tickets.remove(self)
        self.site.call_next()


class _Tickets(deque[Ticket]):
    def move_to_end(self, ticket: Ticket) -> None:
        if ticket in self:
            self.remove(ticket)
            self.append(ticket)


class Few:
    """At most ``most`` connections to a site, in this process alone."""

    def __init__(self, most: int, *, messages_per_connection: int = 1000) -> None:
        self.most, self.messages_per_connection = most, messages_per_connection
        self.tickets = _Tickets()
        self.all: list[Ticket] = []
        self.callbacks: deque[tuple[Callable[[], None], bool]] = deque()
        self.may_go = asyncio.Event()
        self.may_go.set()
        self.paced = 0

    def try_take(self, wanted: Callable[[], None], *, urgent: bool) -> Ticket | None:
        if len(self.tickets) >= self.most:
            unasked = [ticket for ticket in self.tickets if not ticket.asked]
            if urgent and unasked:
                unasked[0].ask()
            return None
        ticket = Ticket(self, wanted)
        self.tickets.append(ticket)
        self.all.append(ticket)
        return ticket

    def on_room(self, callback: Callable[[], None], *, urgent: bool) -> None:
        self.callbacks.append((callback, urgent))

    def call_next(self) -> None:
        while self.callbacks and len(self.tickets) < self.most:
            self.callbacks.popleft()[0]()

    def all_given_back_once(self) -> bool:
        return not self.tickets and all(each.given_back == 1 for each in self.all)


NewPool = Callable[..., SmtpPool]


@pytest.fixture
async def new_pool() -> AsyncIterator[NewPool]:
    """``new_pool(permits, port, …)``: times of SmtpPool by name."""
    pools: list[SmtpPool] = []

    def make(permits: Few, port: int, **given: Any) -> SmtpPool:
        destination = to_relay("default", Server("127.0.0.1", port))
        times = {**TIMES, **given}
        pools.append(SmtpPool(destination, hostname="sender.example", permits=permits, **times))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.close()


async def test_pools_of_a_site_never_have_more_connections_than_permits(new_pool: NewPool) -> None:
    few = Few(3)
    async with MisbehavingServer() as server:
        pools = [new_pool(few, server.port) for _ in range(8)]
        replies = await asyncio.gather(
            *(send(pools[n % 8], f"r{n}@example.org") for n in range(120))
        )
        assert all(reply.code == 250 for each in replies for reply in each.values())
        assert server.max_concurrent == 3
        await asyncio.gather(*(pool.close() for pool in pools))
    assert few.all_given_back_once()


async def test_idle_connection_is_given_up_where_another_pool_wants_its_permit(
    new_pool: NewPool,
) -> None:
    few = Few(1)
    async with MisbehavingServer() as server:
        one, two = new_pool(few, server.port), new_pool(few, server.port)
        for pool in (one, two, one):
            await send(pool, "a@example.org")
        assert server.sessions == 3 and server.max_concurrent == 1
        assert server.commands["QUIT"] == 2


async def test_busy_connection_that_is_wanted_is_closed_after_its_message(
    new_pool: NewPool,
) -> None:
    few = Few(1)
    async with MisbehavingServer() as server:
        one, two = new_pool(few, server.port), new_pool(few, server.port)
        hanging = asyncio.create_task(send(one, "hang@example.org"))
        await server.hung.wait()
        waiting = asyncio.create_task(send(two, "b@example.org"))
        await settle(lambda: two.connections.waiting == 1)
        server.release()
        assert (await hanging)["hang@example.org"].code == 250
        assert (await waiting)["b@example.org"].code == 250
        assert server.max_concurrent == 1 and one.connections.open == 0


async def test_connection_is_closed_when_it_has_carried_its_messages(new_pool: NewPool) -> None:
    few = Few(1, messages_per_connection=2)
    async with MisbehavingServer() as server:
        pool = new_pool(few, server.port)
        await asyncio.gather(*(send(pool, f"r{n}@example.org") for n in range(6)))
        assert server.sessions == 3 and server.max_concurrent == 1
        assert few.paced == 6


async def test_message_waits_for_its_pace_before_mail(new_pool: NewPool) -> None:
    few = Few(1)
    few.may_go.clear()
    async with MisbehavingServer() as server:
        pool = new_pool(few, server.port)
        sending = asyncio.create_task(send(pool, "a@example.org"))
        await settle(lambda: few.paced == 1)
        assert server.transactions == 0 and server.connections == 1
        few.may_go.set()
        assert (await sending)["a@example.org"].code == 250


async def test_permit_that_is_lost_ends_its_connection_idle_or_busy(new_pool: NewPool) -> None:
    few = Few(2)
    async with MisbehavingServer() as server:
        pool = new_pool(few, server.port)
        hanging = asyncio.create_task(send(pool, "hang@example.org"))
        await server.hung.wait()
        await send(pool, "a@example.org")
        for ticket in list(few.tickets):
            ticket.lost = True
            ticket.wanted()
        assert (await hanging)["hang@example.org"].code is None
        assert pool.connections.open == 0 and few.all_given_back_once()


async def test_permit_that_is_lost_while_connecting_sends_nothing(new_pool: NewPool) -> None:
    few = Few(1)
    connected, go_on = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        connected.set()
        await go_on.wait()
        await peer.greet()
        await peer.reader.read()

    async with ScriptedServer(script) as server:
        pool = new_pool(few, server.port)
        sending = asyncio.create_task(send(pool, "a@example.org"))
        await connected.wait()
        few.all[0].lost = True
        few.all[0].wanted()
        go_on.set()
        with pytest.raises(NotSent):
            await sending
    assert few.all_given_back_once()


async def test_permit_of_a_refused_connection_is_given_back(new_pool: NewPool) -> None:
    few = Few(1)
    async with MisbehavingServer() as server:
        pool = new_pool(few, server.port)
        await server.stop()
        for _ in range(3):
            assert (await send(pool, "a@example.org"))["a@example.org"].code is None
        assert few.all_given_back_once() and len(few.all) == 3
        await server.start()


@pytest.mark.parametrize("where", ["waiting", "connecting", "pacing", "sending"])
async def test_permit_of_a_cancelled_message_is_given_back(where: str, new_pool: NewPool) -> None:
    few = Few(1)
    connected = asyncio.Event()

    async def silent(peer: Peer) -> None:
        connected.set()
        await peer.reader.read()

    async with MisbehavingServer() as server, ScriptedServer(silent) as mute:
        pool = new_pool(few, mute.port if where == "connecting" else server.port)
        if where == "pacing":
            few.may_go.clear()
        sending = asyncio.create_task(send(pool, "hang@example.org"))
        if where == "connecting":
            await connected.wait()
        elif where == "pacing":
            await settle(lambda: few.paced == 1)
        else:
            await server.hung.wait()
        tasks = [sending]
        if where == "waiting":
            tasks.insert(0, asyncio.create_task(send(pool, "b@example.org")))
            await settle(lambda: pool.connections.waiting == 1)
        for task in tasks:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await pool.close()
    assert few.all_given_back_once()


async def test_cancellations_at_any_moment_give_each_permit_back_once(new_pool: NewPool) -> None:
    few = Few(2, messages_per_connection=3)
    async with MisbehavingServer() as server:
        pools = [new_pool(few, server.port) for _ in range(3)]
        for turns in range(60):
            tasks = [asyncio.create_task(send(pools[n % 3], f"r{n}@example.org")) for n in range(9)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(
                isinstance(result, asyncio.CancelledError)
                or all(reply.code == 250 for reply in result.values())
                for result in results
            ), results  # type: ignore[union-attr]
            assert len(few.tickets) <= 2 and all(each.given_back <= 1 for each in few.all)
        await asyncio.gather(*(pool.close() for pool in pools))
        assert few.all_given_back_once()
        assert server.max_concurrent <= 3  # one may be closing: the server hears of it later


async def test_permit_of_a_connection_that_the_server_cuts_is_given_back(
    new_pool: NewPool,
) -> None:
    few = Few(2)
    async with MisbehavingServer() as server:
        pool = new_pool(few, server.port)
        await send(pool, "a@example.org")
        await server.cut()
        await settle(few.all_given_back_once)
        assert (await send(pool, "drop-data@example.org"))["drop-data@example.org"].code is None
        assert few.all_given_back_once()


async def test_room_that_a_closed_pool_does_not_need_goes_to_the_next(new_pool: NewPool) -> None:
    few = Few(1)
    async with MisbehavingServer() as server:
        one, gone, two = (new_pool(few, server.port) for _ in range(3))
        hanging = asyncio.create_task(send(one, "hang@example.org"))
        await server.hung.wait()
        early = asyncio.create_task(send(gone, "a@example.org"))
        await settle(lambda: gone.connections.waiting == 1)
        late = asyncio.create_task(send(two, "b@example.org"))
        await settle(lambda: two.connections.waiting == 1)
        await gone.close()
        with pytest.raises(NotSent):
            await early
        server.release()
        await hanging
        assert (await late)["b@example.org"].code == 250
