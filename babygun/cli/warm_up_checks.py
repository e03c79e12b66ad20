"""What ``babygun doctor`` says of warm-ups: how far each source is, and whose mail waits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import islice

from babygun.cli.finding import Finding
from babygun.routing.warm_up import Plan, is_address, read_plan
from babygun.store import Store
from babygun.store.domains.change import read_domain
from babygun.store.warm_ups.reading import WarmUp, read_warm_ups

_MOST = 20  # sources that are named


async def check_warm_ups(store: Store) -> AsyncIterator[Finding]:
    """Nothing where all mail goes by relays. Raises EtcdError."""
    if not store.routes.to_mx:
        return
    plan = read_plan(store.settings)
    if plan is None:
        yield Finding("ok", "nothing warms up: the setting warm_up is off")
        return
    async for finding in _mistyped(store, plan):
        yield finding
    found = await read_warm_ups(store, plan, store.routes.sources, store.routes.provider_sites)
    warming = (each for each in found if each.ceiling is not None and each.began is not None)
    for each in islice(warming, _MOST):
        yield _of_source(each)


def _of_source(source: WarmUp) -> Finding:
    is_at = (
        f"{source.source} warms up: day {source.day}, {source.ceiling:,} recipients at each"
        " provider today"
    )
    waits = [
        f"{use.today.used.put_off:,} to {use.site} wait for tomorrow"
        for use in source.sites
        if use.why and use.today.used.put_off
    ]
    return Finding("warn", f"{is_at}; {', '.join(waits)}") if waits else Finding("ok", is_at)


async def _mistyped(store: Store, plan: Plan) -> AsyncIterator[Finding]:
    """Names of the setting that are of no source: the source itself would begin as a new one."""
    for name in plan.began:
        if is_address(name):
            known = name in store.routes.sources
        else:
            known = await read_domain(store, name) is not None
        if not known:
            yield Finding(
                "warn",
                f"warm_up_began names {name}, which is neither one of source_addresses nor a"
                " sending domain",
            )
