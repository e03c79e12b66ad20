"""The parts of warm-ups' ceilings that this worker has taken from etcd, and what is left of them.

A part is of one source at one site, on one day. What rests for some seconds goes back to etcd, so
that another worker can use it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime
from typing import NamedTuple, NoReturn

from msgspec import Struct, field

from babygun.errors import EtcdError, EtcdUnavailable
from babygun.routing.warm_up import Plan, day_of
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.warm_ups.counts import KeptCounts, change, take
from babygun.store.warm_ups.sources import KeptSource, KnownSources, Source, begin

log = get_logger("worker")

_LOOK = 5.0  # s, between two looks at parts that rest
_REST = 15.0  # s, for which an unused part is kept
# s, for which a ceiling counts as reached: another worker may give back what it does not need.
_FULL = 30.0
_LAST_WRITES = 3.0  # s, that the end may take
_AT_ONCE = 64  # parts that are written together


class Full(NamedTuple):
    """A ceiling is reached: that of this day of a source's warm-up."""

    source: str
    day: int
    ceiling: int


class Granted(NamedTuple):
    """``recipients``: so many may be sent to. ``full``: the ceiling, if it leaves fewer.

    ``counted``: they were taken from a ceiling. A warm source has none.
    """

    recipients: int
    full: Full | None = None
    counted: bool = True


class _Part(Struct, gc=False):
    """``left``: recipients that this worker may still send to.

    ``unused``, ``put_off``: recipients that etcd does not know of yet. ``used_at``, ``full_until``:
    of time.monotonic(). ``counts``: of all workers, as they were last known.
    """

    day: date
    left: int = 0
    unused: int = 0
    put_off: int = 0
    used_at: float = 0.0
    full_until: float = 0.0
    counts: KeptCounts | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class WarmUpParts:
    """Run :meth:`run` as a task; at the end call :meth:`close`. ``workers``: how many are alive."""

    def __init__(self, store: Store, plan: Plan, workers: Callable[[], int]) -> None:
        self._store, self._plan, self._workers = store, plan, workers
        self._sources = KnownSources(store, self._changed)
        self._parts: dict[tuple[str, str], _Part] = {}  # by source and site

    async def run(self) -> None:
        """Follows the sources, and gives back what rests, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sources.run(), name="warm-ups")
            tasks.create_task(self._look(), name="warm-ups that rest")

    async def close(self) -> None:
        """Gives back all that is not used."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WRITES):
                await self._write_all(rested_since=time.monotonic())

    # --- recipients ---

    async def take(self, source: str, site: str, wanted: int, now: datetime) -> Granted:
        """Takes up to ``wanted`` recipients of a source's ceiling today. Raises EtcdError."""
        today = now.date()
        while True:
            kept = await self._kept(source, now)
            ceiling = self._ceiling(kept.source, today)
            if ceiling is None:
                return Granted(wanted, counted=False)
            part = self._part(source, site, today)
            async with part.lock:
                lacks = part.left < wanted and time.monotonic() >= part.full_until
                if lacks and not await self._take_more(part, kept, site, ceiling, wanted):
                    continue  # its warm-up has changed
                count = min(part.left, wanted)
                part.left -= count
                part.used_at = time.monotonic()
            if count == wanted:
                return Granted(count)
            return Granted(count, Full(source, day_of(kept.source.began, today), ceiling))

    async def _take_more(
        self, part: _Part, kept: KeptSource, site: str, ceiling: int, wanted: int
    ) -> bool:
        """Takes more recipients from etcd. False: the source's warm-up has changed."""
        taken = await take(
            self._store,
            kept,
            site,
            part.day,
            ceiling=ceiling,
            wanted=wanted - part.left,
            workers=self._workers(),
            known=part.counts,
        )
        if taken.changed:
            part.counts = None
            await self._sources.read()
            return False
        part.counts = taken.kept
        part.left += taken.recipients
        if part.left < wanted:
            if not part.full_until:
                log.info("warm-up ceiling reached", source=kept.name, site=site, ceiling=ceiling)
            part.full_until = time.monotonic() + _FULL
        return True

    def give_back(self, source: str, site: str, day: date, count: int) -> None:
        """Gives recipients back that were taken and not sent to."""
        if part := self._part_still(source, site, day):
            part.left += count

    def put_off(self, source: str, site: str, day: date, count: int) -> None:
        """Counts recipients that have to wait for the next day."""
        if part := self._part_still(source, site, day):
            part.put_off += count

    def _part_still(self, source: str, site: str, day: date) -> _Part | None:
        """That of a day on which a try began. None: it ended on the next one, which has its own."""
        part = self._parts.get((source, site))
        if part is None:
            part = self._parts[source, site] = _Part(day)
        return part if part.day == day else None

    def _part(self, source: str, site: str, day: date) -> _Part:
        part = self._parts.get((source, site))
        if part is None or part.day != day:
            part = self._parts[source, site] = _Part(day)
        return part

    # --- sources ---

    async def began(self, source: str, now: datetime) -> date:
        """By which sources are compared. A warm one is the oldest: date.min. Raises EtcdError."""
        kept = await self._kept(source, now)
        warm = self._ceiling(kept.source, now.date()) is None
        return date.min if warm else kept.source.began

    async def _kept(self, source: str, now: datetime) -> KeptSource:
        """Since when a source sends. Its first use is noted."""
        if (day := self._plan.began.get(source)) is not None:
            return KeptSource(Source(source=source, began=day, set_at=now), 0)
        if not self._sources.complete.is_set():
            await self._first_read()
        kept = self._sources.by_name.get(source)
        if kept is None:
            kept = await begin(self._store, source, now)
            self._sources.learn(kept)
            log.info("warm-up begun", source=source, began=kept.source.began)
        return kept

    async def _first_read(self) -> None:
        """Waits for it. Raises EtcdUnavailable: a right may be missing, and tries must not hang."""
        try:
            async with asyncio.timeout(self._store.settings.etcd_timeout):
                await self._sources.complete.wait()
        except TimeoutError:
            raise EtcdUnavailable("the warm-ups are not read yet") from None

    def _ceiling(self, source: Source, today: date) -> int | None:
        return None if source.skipped else self._plan.ceiling(source.began, today)

    def _changed(self, name: str) -> None:
        """A source's warm-up has begun, ended or changed: what was taken by it goes back."""
        for (source, _), part in self._parts.items():
            if source == name:
                part.unused += part.left
                part.left, part.counts, part.full_until = 0, None, 0.0

    # --- what etcd is to know ---

    async def _look(self) -> NoReturn:
        while True:
            await asyncio.sleep(_LOOK)
            await self._write_all(rested_since=time.monotonic() - _REST)

    async def _write_all(self, *, rested_since: float) -> None:
        """Gives back what was not used since, and forgets it: sites may be very many."""
        to_write: list[tuple[tuple[str, str], _Part]] = []
        for key, part in list(self._parts.items()):
            rests = part.used_at <= rested_since and not part.lock.locked()
            if rests:
                part.unused += part.left
                part.left = 0
            if part.unused or part.put_off:
                to_write.append((key, part))
            elif rests:
                del self._parts[key]
        for start in range(0, len(to_write), _AT_ONCE):
            some = to_write[start : start + _AT_ONCE]
            await asyncio.gather(*(self._write(*key, part) for key, part in some))

    async def _write(self, source: str, site: str, part: _Part) -> None:
        given_back, put_off = part.unused, part.put_off
        part.unused = part.put_off = 0  # after an error nobody may do it again
        try:
            await change(
                self._store, source, site, part.day, given_back=given_back, put_off=put_off
            )
        except EtcdError as error:
            log.warning("warm-up not counted", source=source, site=site, error=str(error))
        else:
            part.full_until = 0.0 if given_back else part.full_until
