"""What operators do about a site: hold it, let its mail go again, limit it for a while.

Bad input raises ValueError, with a sentence that says what to give instead.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from babygun.routing.providers import parse_rate
from babygun.store.records import Hold, Lowered, SomeLimits
from babygun.store.sites import holds, limits
from babygun.store.store import Store

LONGEST = timedelta(days=31)
MOST = 10_000  # connections, and messages over one
# A relay, or a provider or host: DNS gives hosts names of almost any characters.
_SITE = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?|mx:[^\s/@\\A-Z]{1,253}")


async def hold(store: Store, site: str, *, reason: str, until: datetime, by: str) -> Hold:
    """Holds a site until a time. Its mail waits and uses up no try. Raises EtcdError."""
    check_site(site)
    if not reason.strip():
        raise ValueError("say why the site is held (reason): others read it where its mail waits")
    await _check_until(store, until)
    return await holds.begin_by_operator(store, site, reason.strip(), until=until, by=by)


async def resume(store: Store, site: str, *, sender: str = "") -> bool:
    """Ends a site's hold, whichever it is; or that of one sender domain. Raises EtcdError.

    False: there is none.
    """
    check_site(site)
    return await holds.end_by_operator(store, site, sender)


async def limit(
    store: Store,
    site: str,
    *,
    connections: int | None = None,
    messages_per_connection: int | None = None,
    rate: str | None = None,
    until: datetime,
    by: str,
    reason: str = "",
) -> Lowered:
    """Limits a site until a time. What is not given stays as it is. Raises EtcdError.

    They may be higher than the table's, too: the operator knows better.
    """
    check_site(site)
    if connections is None and messages_per_connection is None and rate is None:
        raise ValueError("give a limit: connections, messages_per_connection or rate")
    for name, value in (
        ("connections", connections),
        ("messages_per_connection", messages_per_connection),
    ):
        if value is not None and not 1 <= value <= MOST:
            raise ValueError(f"{name} is {value}: give 1 to {MOST}, or hold the site")
    await _check_until(store, until)
    return await limits.write_by_operator(
        store,
        site,
        SomeLimits(connections, messages_per_connection, parse_rate(rate) if rate else None),
        reason=reason.strip(),
        until=until,
        by=by,
    )


async def unlimit(store: Store, site: str) -> bool:
    """Ends a site's limits of a while, whichever they are. False: there are none.

    Raises EtcdError.
    """
    check_site(site)
    return await limits.end(store, site)


def check_site(site: str) -> None:
    if not _SITE.fullmatch(site):
        raise ValueError(
            f"{site!r} is no name of a site: give a relay's name, or mx: and a provider or a mail"
            " host, such as mx:google"
        )


async def _check_until(store: Store, until: datetime) -> None:
    now = await store.clock.now()
    if not now < until <= now + LONGEST:
        raise ValueError(f"until must be in the future, at most {LONGEST.days} days from now")
