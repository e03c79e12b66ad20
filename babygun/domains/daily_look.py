"""When the DNS records of each sending domain are looked at again, and the looking itself."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from babygun.domains.verifier import Verifier
from babygun.email.sending_domains import SendingDomain
from babygun.errors import BabygunError
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger
from babygun.store import Store

log = get_logger("domains")

INTERVAL = 60.0
"""Seconds between two rounds."""
_DAILY = timedelta(days=1)
_OFTEN, _HOURLY = timedelta(minutes=15), timedelta(hours=1)
_FIRST_DAY, _FIRST_WEEK = timedelta(days=1), timedelta(days=7)


def next_look(domain: SendingDomain, now: datetime) -> datetime:
    """When it is due.

    While its owner is expected to change DNS, looks come more often. The first one does not come at
    once: resolvers would remember for long that the records are not there yet.
    """
    last = domain.verified.at if domain.verified else domain.updated_at
    waits = any(one.state == "new" for one in domain.selectors)
    if domain.status == "verified" and not waits:
        unknown = domain.verified and any(o.status == "unknown" for o in domain.verified.records)
        return last + (_HOURLY if unknown else _DAILY)
    since = now - domain.updated_at
    pause = _OFTEN if since < _FIRST_DAY else _HOURLY if since < _FIRST_WEEK else _DAILY
    return last + pause


class DailyLook:
    """:meth:`once` is called again and again, by one process of all.

    A look from before this process is made again: its settings may be new, and then other records
    are wanted.
    """

    def __init__(self, store: Store) -> None:
        self._store, self._verifier = store, Verifier(store)
        self._began = utc_now()

    async def once(self) -> None:
        """Looks at all domains that are due. An error about one does not keep the others."""
        now = utc_now()
        due = [one.name for one in self._store.domains.all() if self._is_due(one, now)]
        results = await asyncio.gather(*map(self._verifier.verify, due), return_exceptions=True)
        for name, result in zip(due, results, strict=True):
            if isinstance(result, BabygunError):
                log.warning("domain not looked at", domain=name, error=str(result))
            elif isinstance(result, BaseException):
                raise result

    def _is_due(self, domain: SendingDomain, now: datetime) -> bool:
        by_others = domain.verified is not None and domain.verified.at < self._began
        return by_others or next_look(domain, now) <= now
