"""The warm-ups as people look at them: each source's day, its ceiling, and what it has sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from babygun.routing.warm_up import Plan, day_of, why_full
from babygun.store.store import Store
from babygun.store.warm_ups.counts import Counts, DayCount, read_counts
from babygun.store.warm_ups.sources import Source, list_sources, read_source

MOST_SOURCES = 200  # in a list; those that are still warming up come first
_MOST_SITES = 200  # of one source
_AT_ONCE = 10  # sources whose counts are read


class SiteDay(NamedTuple):
    """One day of a source at one site. ``number``: of the warm-up, from 1."""

    on: date
    number: int
    ceiling: int | None
    used: DayCount


class SiteUse(NamedTuple):
    """What a source has sent to one site. ``today``: the last of its days, also if it is unused.

    ``why``: the reason of the mail that waits for the next day; empty: the ceiling is not reached.
    """

    site: str
    days: tuple[SiteDay, ...]
    why: str

    @property
    def today(self) -> SiteDay:
        return self.days[-1]


class WarmUp(NamedTuple):
    """One source. ``began``: None: it was not used yet. ``ceiling``: None: it has none today.

    ``set_by``: ``settings``, an operator, or nothing: it began with its first use.
    """

    source: str
    began: date | None
    day: int
    ceiling: int | None
    skipped: bool
    set_by: str
    sites: tuple[SiteUse, ...] = ()


async def read_warm_ups(
    store: Store, plan: Plan, addresses: Sequence[str], sites: Sequence[str]
) -> list[WarmUp]:
    """All sources that are known, those first that are warming up. Raises EtcdError.

    ``addresses``: our source addresses; they are listed before their first use, too. ``sites``:
    those that are shown in any case, if they were used.
    """
    today = (await store.clock.now()).date()
    stored = {each.source: each for each in await list_sources(store)}
    unused = addresses if plan.addresses else ()
    names = dict.fromkeys([*stored, *unused, *plan.began])
    found = [_of(name, stored.get(name), plan, today) for name in names]
    found.sort(key=lambda each: (each.ceiling is None, each.source))
    limit = asyncio.Semaphore(_AT_ONCE)

    async def with_sites(each: WarmUp) -> WarmUp:
        async with limit:
            return await _with_sites(store, each, plan, today, sites)

    return await asyncio.gather(*(with_sites(each) for each in found[:MOST_SOURCES]))


async def read_warm_up(
    store: Store, name: str, plan: Plan, addresses: Sequence[str], sites: Sequence[str]
) -> WarmUp | None:
    """One source. None: nothing is known of it. Raises EtcdError."""
    today = (await store.clock.now()).date()
    stored = await read_source(store, name)
    if stored is None and name not in addresses and name not in plan.began:
        return None
    return await _with_sites(store, _of(name, stored, plan, today), plan, today, sites)


def _of(name: str, stored: Source | None, plan: Plan, today: date) -> WarmUp:
    if (began := plan.began.get(name)) is not None:
        skipped, set_by = False, "settings"
    elif stored is None:
        return WarmUp(name, None, 1, plan.ceilings[0], skipped=False, set_by="")
    else:
        began, skipped, set_by = stored.began, stored.skipped, stored.set_by
    ceiling = None if skipped else plan.ceiling(began, today)
    return WarmUp(name, began, day_of(began, today), ceiling, skipped, set_by)


async def _with_sites(
    store: Store, warm_up: WarmUp, plan: Plan, today: date, sites: Sequence[str]
) -> WarmUp:
    """With the sites that it has sent to, those first that had the most today."""
    if warm_up.began is None:
        return warm_up
    counts = await read_counts(store, warm_up.source, first=sites, most=_MOST_SITES)
    uses = [_use(site, each, warm_up, warm_up.began, plan, today) for site, each in counts.items()]
    uses.sort(key=lambda use: (-use.today.used.taken, use.site))
    return warm_up._replace(sites=tuple(uses))


def _use(
    site: str, counts: Counts, warm_up: WarmUp, began: date, plan: Plan, today: date
) -> SiteUse:
    days = sorted({*(day for day in counts.days if began <= day <= today), today})
    rows = tuple(
        SiteDay(
            day,
            day_of(began, day),
            None if warm_up.skipped else plan.ceiling(began, day),
            counts.on(day),
        )
        for day in days
    )
    last, ceiling = rows[-1], rows[-1].ceiling
    full = ceiling is not None and last.used.taken >= ceiling
    why = why_full(warm_up.source, last.number, ceiling, site) if full and ceiling else ""
    return SiteUse(site, rows, why)
