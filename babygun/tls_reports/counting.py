"""Counts what a worker's connections to mail hosts got of TLS, for the daily reports (RFC 8460).

The sums stay in memory, and go to etcd every minute: those of domains that ask for reports. So
neither e-mails nor connections wait for etcd. A worker that dies loses a minute's counts.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import NoReturn

from babygun.dns import LookupFailed, Resolver
from babygun.errors import EtcdError, LeaseNotFound, OutOfResources
from babygun.routing.destination import Destination
from babygun.routing.mx_destinations import MxDestination
from babygun.routing.sites import MX
from babygun.routing.tls_overrides import read_overrides
from babygun.runtime.clock import utc_now
from babygun.runtime.identifiers import new_short_id
from babygun.runtime.logs import get_logger
from babygun.smtp.tls_checks import TlsSession
from babygun.store import Store
from babygun.store.tls_reports.counts import write_count
from babygun.store.tls_reports.leases import SharedLeases
from babygun.tls_reports.record import asks
from babygun.tls_reports.sums import Sums

log = get_logger("tls")

INTERVAL = 60.0  # s, between two writes
WRITTEN_BY = timedelta(minutes=10)  # after a day's end: a worker may be without etcd for a while
_KEPT = 2 * 86_400.0  # s, for which counts wait to be reported
_MOST_DOMAINS = 20_000  # of a day; mostly 0.8 KB each
_AT_ONCE = 50  # lookups and writes


class _Day:
    """``sums``: by domain. ``leases``: of the keys that were written."""

    def __init__(self) -> None:
        self.sums: dict[str, Sums] = {}
        self.changed: set[str] = set()
        self.leases: dict[str, int] = {}


class TlsCounts:
    """Of one worker. Run :meth:`run` as a task, :meth:`write` once more at the end."""

    def __init__(self, store: Store, resolver: Resolver) -> None:
        self._store, self._resolver = store, resolver
        self._overrides = read_overrides(store.settings)
        self._process = new_short_id()
        self._leases = SharedLeases(store.client, _KEPT)
        self._days: dict[str, _Day] = {}
        self._writing = asyncio.Semaphore(_AT_ONCE)

    def add(self, destination: Destination, session: TlsSession) -> None:
        """Counts a connection, for one queue's mail.

        Not those where our own settings decided about TLS, and not those of mail that goes in spite
        of policies, as reports do: there are no reports about reports.
        """
        if not isinstance(destination, MxDestination) or not destination.heeds_policies:
            return
        domain = destination.name.removeprefix(MX)
        override = self._overrides.get(domain)
        if destination.tls == "none" or (override is not None and not override.dane):
            return
        day = self._days.setdefault(f"{utc_now():%Y-%m-%d}", _Day())
        sums = day.sums.get(domain)
        if sums is None:
            if len(day.sums) >= _MOST_DOMAINS:
                return
            sums = day.sums[domain] = Sums()
        sums.add(destination, session)
        day.changed.add(domain)

    async def run(self) -> NoReturn:
        """Writes every minute until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self.write()

    async def write(self) -> None:
        """Writes what has changed, and forgets days that have ended. What fails is tried again."""
        over = [name for name in self._days if is_over(name, utc_now())]
        for name, day in list(self._days.items()):
            changed, day.changed = day.changed, set()
            await asyncio.gather(*(self._write(name, day, domain) for domain in changed))
        for name in over:
            del self._days[name]

    async def _write(self, name: str, day: _Day, domain: str) -> None:
        try:
            async with self._writing:
                if domain not in day.leases:
                    if not await asks(self._resolver, domain):
                        day.sums.pop(domain, None)
                        return
                    day.leases[domain] = await self._leases.one()
                count, lease = day.sums[domain].count(), day.leases[domain]
                await write_count(self._store, name, domain, self._process, count, lease)
        except LeaseNotFound:  # etcd was put back to an earlier state
            del day.leases[domain]
            self._leases.forget()
            day.changed.add(domain)
        except LookupFailed:
            day.changed.add(domain)
        except (EtcdError, OutOfResources) as error:
            day.changed.add(domain)
            log.warning("TLS results not counted", domain=domain, error=str(error))


def is_over(day: str, now: datetime) -> bool:
    """Whether all workers have written what they counted on a day."""
    return day < f"{now - WRITTEN_BY:%Y-%m-%d}"
