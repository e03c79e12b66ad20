"""Refreshes kept policies once a day, whatever DNS says of their id: owners forget to change it.

One worker does it. A policy by which no mail has gone for a month is left to its end, and deleted
then. So is one that its domain announces no more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from babygun.errors import EtcdError, OutOfResources
from babygun.runtime.logs import get_logger
from babygun.runtime.tasks import run_together
from babygun.store import Store
from babygun.store.tls_policies.known import StoredPolicy, remove
from babygun.tls_policies.policies import StsPolicies, announced_id

log = get_logger("tls")

_INTERVAL = 60.0  # s, between two rounds
DAY = timedelta(days=1)
_LEAST = timedelta(hours=1)  # between two looks at one domain
_UNUSED = timedelta(days=30)
_AT_ONCE = 20  # domains of one round


async def run(store: Store, policies: StsPolicies, leads: Callable[[], bool]) -> None:
    """Follows the policies, and refreshes them while this worker leads, until cancelled."""
    refresh = Refresh(store, policies)

    async def again_and_again() -> None:
        while True:
            await asyncio.sleep(_INTERVAL)
            if leads():
                try:
                    await refresh.once()
                except EtcdError as error:
                    log.warning("TLS policies not refreshed", error=str(error))

    await run_together("TLS policies", policies.run(), again_and_again())


class Refresh:
    """One round after the other: call :meth:`once` now and then."""

    def __init__(self, store: Store, policies: StsPolicies) -> None:
        self._store, self._policies = store, policies
        self._looked_at: dict[str, float] = {}  # monotonic, of those that were not refreshed

    async def once(self) -> None:
        """Refreshes what is due, some at a time, and deletes what has ended. Raises EtcdError."""
        now = await self._store.clock.now()
        kept = list(self._policies.known.by_name.values())
        for each in kept:
            if each.stored.until <= now:
                await remove(self._store, each)
        due = [each.stored for each in kept if is_due(each.stored, now)]
        again = time.monotonic() - _LEAST.total_seconds()
        self._looked_at = {name: at for name, at in self._looked_at.items() if at > again}
        todo = [each for each in due if each.domain not in self._looked_at]
        await asyncio.gather(*map(self._refresh, todo[:_AT_ONCE]))

    async def _refresh(self, stored: StoredPolicy) -> None:
        self._looked_at[stored.domain] = time.monotonic()
        try:
            announced = await announced_id(self._policies.resolver, stored.domain)
        except OutOfResources:
            return
        if announced and await self._policies.renew(stored.domain, announced, stored.used_at):
            self._looked_at.pop(stored.domain, None)


def is_due(stored: StoredPolicy, now: datetime) -> bool:
    """A day after the last fetch, or after half of its time if that is less."""
    every = max(_LEAST, min(DAY, (stored.until - stored.fetched_at) / 2))
    in_use = now - stored.used_at < _UNUSED
    return in_use and stored.fetched_at + every <= now < stored.until
