"""The connection pools of the destinations that are in use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from babygun.routing.destination import Destination
from babygun.smtp.pool import SmtpPool


class Pools:
    """Makes a destination's pool when it is first used, and drops it when it is not used.

    ``make``: makes a pool. ``unused``: seconds after which a pool is dropped, twice as many at
    most; later if it has connections still. Destinations with the same ``pool`` share one.
    ``for_email`` is what :meth:`Destination.pool_for` takes.
    """

    def __init__(self, make: Callable[[Destination, str], SmtpPool], *, unused: float) -> None:
        self._make, self._unused = make, unused
        self._pools: dict[str, SmtpPool] = {}  # by the destination's pool
        self._used: set[str] = set()  # names, since the last drop_unused()
        self._timer: asyncio.TimerHandle | None = None

    def __iter__(self) -> Iterator[SmtpPool]:
        return iter(self._pools.values())

    def get(self, destination: Destination, for_email: str = "") -> SmtpPool:
        """The pool of a destination, for one message. Ask again for the next message."""
        name = destination.pool_for(for_email) if for_email else destination.pool
        self._used.add(name)
        pool = self._pools.get(name)
        if pool is None:
            pool = self._pools[name] = self._make(destination, for_email)
            if self._timer is None:
                self._set_timer()
        return pool

    def drop_unused(self) -> None:
        """Drops the pools that nobody has used since the last call, and that have nothing open."""
        for name in [n for n, pool in self._pools.items() if n not in self._used]:
            if not self._pools[name].connections.needed:
                del self._pools[name]
        self._used.clear()

    def _set_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._unused, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self.drop_unused()
        if self._pools:
            self._set_timer()

    async def close(self) -> None:
        """Closes all pools, within some seconds."""
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.gather(*(pool.close() for pool in self))
        self._pools.clear()
