"""Says of each site for which this worker has mail what waits there, and why."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from heapq import nsmallest
from typing import Protocol

from babygun.email.ids import created_ms
from babygun.errors import EtcdError
from babygun.routing.providers import Limits
from babygun.routing.sites import Site
from babygun.runtime.clock import at_ms
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.cluster.checkin import Identity
from babygun.store.records import SiteReport
from babygun.store.sites.reports import MOST, write_report
from babygun.worker.sites.permits import SitePermits

log = get_logger("worker")

EVERY = 5.0  # s
_MINUTE = 60.0


class Waiting(Protocol):
    """A site whose mail waits: how many jobs of how many queues are known here, and the oldest."""

    @property
    def site(self) -> Site: ...
    @property
    def obstacle(self) -> str: ...
    @property
    def jobs(self) -> int: ...
    @property
    def queues(self) -> int: ...
    @property
    def oldest(self) -> str: ...


class Reports:
    """``waiting``: asked for the sites whose mail waits. ``limits_of``: what holds for one now.

    ``asked``: by site, how often its replies have asked for what the provider's table says.
    """

    def __init__(
        self,
        store: Store,
        states: Mapping[str, SitePermits],
        *,
        waiting: Callable[[], Iterable[Waiting]],
        limits_of: Callable[[Site], Limits],
        asked: Callable[[], Mapping[str, dict[str, int]]] = dict,
    ) -> None:
        self._store, self._states = store, states
        self._waiting, self._limits_of, self._asked = waiting, limits_of, asked
        # When, and by reported site how many replies there had been: within the last minute.
        self._earlier: deque[tuple[float, dict[str, tuple[int, int]]]] = deque()
        self._said: tuple[Identity, list[SiteReport]] | None = None

    async def once(self, identity: Identity) -> None:
        """Writes the report, if it says anything new."""
        rows = self.rows(time.monotonic())
        if self._said == (identity, rows) or (not rows and self._said is None):
            return
        try:
            await write_report(
                self._store, rows, worker_id=identity.process_id, lease_id=identity.lease_id
            )
        except EtcdError as error:  # the next one says it
            log.warning("report not written", error=str(error))
        else:
            self._said = identity, rows

    def rows(self, now: float) -> list[SiteReport]:
        """The sites with the most mail. Relays without limits are not among them."""
        waiting = {one.site.name: one for one in self._waiting() if one.site.limits is not None}
        asked = self._asked()
        names = nsmallest(
            MOST,
            waiting.keys() | self._states.keys() | asked.keys(),
            key=lambda name: (-waiting[name].jobs if name in waiting else 0, name),
        )
        states = ((name, self._states.get(name)) for name in names)
        counts = {name: (state.sent, state.deferred) for name, state in states if state}
        while self._earlier and self._earlier[0][0] < now - _MINUTE:
            self._earlier.popleft()
        before = self._earlier[0][1] if self._earlier else {}
        self._earlier.append((now, counts))
        return [
            self._row(name, waiting.get(name), before.get(name, (0, 0)), asked.get(name, {}))
            for name in names
        ]

    def _row(
        self, name: str, waits: Waiting | None, before: tuple[int, int], asked: dict[str, int]
    ) -> SiteReport:
        state = self._states.get(name)
        site = state.site if state is not None else waits.site if waits is not None else None
        if site is None:
            return SiteReport(site=name, asked=asked)
        slots = list(state.slots.values()) if state is not None else []
        return SiteReport(
            site=name,
            queues=waits.queues if waits else 0,
            waiting=waits.jobs if waits else 0,
            oldest=at_ms(created_ms(waits.oldest)) if waits and waits.oldest else None,
            connections=sum(slot.in_use for slot in slots),
            slots=len(slots),
            limits=self._limits_of(site),
            shared=site.shared,
            sent=max(0, state.sent - before[0]) if state else 0,
            deferred=max(0, state.deferred - before[1]) if state else 0,
            why=waits.obstacle if waits else "",
            asked=asked,
        )
