"""Workers that send to one site, each in a thread and an event loop of its own: no SMTP."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from typing import NamedTuple

from babygun.routing.providers import Limits, Provider
from babygun.routing.sites import Site
from babygun.runtime.settings import Settings
from babygun.smtp.envelope import NotSent
from babygun.smtp.permits import Permit, Permits
from babygun.store import Store
from babygun.store.cluster.checkin import Identity
from babygun.worker.sites.permits import PermitsNow
from babygun.worker.sites.sites import Sites
from babygun.worker.sites.slot import Slot


def shared_site(limits: Limits, name: str = "mx:large") -> Site:
    return Site(name, Provider("large", (), limits, False, ()), limits, shared=True)


class Message(NamedTuple):
    """One that went out. Times of time.monotonic()."""

    at: float
    worker: str
    slot: int


@dataclass
class Sender(threading.Thread):
    """A worker with an endless number of messages. ``pools``: that share the site's permits.

    ``transactions``: requests to etcd that may write.
    """

    settings: Settings
    site: Site
    label: str
    pools: int = 1
    messages: list[Message] = field(default_factory=list)
    transactions: int = 0
    error: BaseException | None = None

    def __post_init__(self) -> None:
        super().__init__(name=self.label)
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._crash = False

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        try:
            self._loop.run_until_complete(self._work())
        except BaseException as error:
            self.error = error

    def close(self) -> None:
        """Once all have ended: gRPC's own thread may speak to any of their loops until then."""
        self._loop.close()

    def stop(self, *, crash: bool = False) -> None:
        """Ends it. ``crash``: it gives nothing back."""
        self._crash = crash
        self._loop.call_soon_threadsafe(self._ended.set)
        self.join()

    def pause(self, seconds: float) -> None:
        """Blocks its event loop."""
        self._loop.call_soon_threadsafe(time.sleep, seconds)

    async def _work(self) -> None:
        async with Store(self.settings) as store:
            self._count(store)
            identity = Identity(store.client, int(self.settings.lease_ttl), self.label)
            await identity.start()
            keeping = asyncio.create_task(identity.run())
            go_on = asyncio.Event()
            sites = Sites(
                store,
                {},
                identity=lambda: identity,
                workers=lambda: 3,
                wake=lambda: None,
                may_go_on=lambda _: go_on.set(),
                sender_may_go_on=lambda *_: None,
            )
            running = asyncio.create_task(sites.run())
            tasks = [asyncio.create_task(self._claims(sites, go_on))]
            await self._ended.wait()
            for task in (keeping, running, *tasks):
                task.cancel()
            await asyncio.gather(keeping, running, *tasks, return_exceptions=True)
            await sites.close()
            if not self._crash:
                await identity.close()

    def _count(self, store: Store) -> None:
        txn, put = store.client.txn, store.client.put

        async def counted_txn(*args, **kwargs):  # type: ignore[no-untyped-def]
            self.transactions += 1
            return await txn(*args, **kwargs)

        async def counted_put(*args, **kwargs):  # type: ignore[no-untyped-def]
            self.transactions += 1
            return await put(*args, **kwargs)

        store.client.txn, store.client.put = counted_txn, counted_put  # type: ignore[method-assign]

    async def _claims(self, sites: Sites, go_on: asyncio.Event) -> None:
        """Claims as the dispatch does, and gives each claim to one of the pools."""
        pools = [_Pool(self, sites.permits(self.site)) for _ in range(self.pools)]
        number = 0
        async with asyncio.TaskGroup() as tries:
            while True:
                go_on.clear()
                while sites.obstacle(self.site) is None:
                    sites.started(self.site)
                    number += 1
                    task = tries.create_task(pools[number % self.pools].send())
                    task.add_done_callback(lambda _: sites.ended(self.site))
                await go_on.wait()


class _Connection(NamedTuple):
    permit: Permit
    closed: list[bool]


class _Pool:
    """As smtp's: connections with a permit each, kept while they are idle."""

    def __init__(self, sender: Sender, permits: Permits) -> None:
        assert isinstance(permits, PermitsNow)
        self._sender, self._permits = sender, permits
        self._idle: list[_Connection] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._open = 0

    async def send(self) -> None:
        connection = await self._connection()
        permit = connection.permit
        try:
            await permit.pace()
        except NotSent:
            self._close(connection)
            return
        assert isinstance(permit, Slot)
        at = permit.way.next_at - permit.way.interval
        self._sender.messages.append(Message(at, self._sender.label, permit.number))
        await asyncio.sleep(0.002)
        if permit.used() or connection.closed[0]:
            self._close(connection)
        else:
            self._idle.append(connection)
            self._wake()

    async def _connection(self) -> _Connection:
        while True:
            if self._idle:
                return self._idle.pop()
            closed = [False]
            connection: _Connection | None = None

            def wanted(closed: list[bool] = closed) -> None:
                closed[0] = True
                for idle in [one for one in self._idle if one.closed is closed]:
                    self._idle.remove(idle)
                    self._close(idle)

            urgent = not self._open
            if permit := self._permits.try_take(wanted, urgent=urgent):
                self._open += 1
                connection = _Connection(permit, closed)
                await asyncio.sleep(0.002)
                return connection
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            self._permits.on_room(self._wake, urgent=urgent)
            await waiter

    def _close(self, connection: _Connection) -> None:
        self._open -= 1
        connection.permit.give_back()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.pop(0)
            if not waiter.done():
                waiter.set_result(None)
                return
