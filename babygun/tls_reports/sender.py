"""Makes the TLS reports of days that have ended, and sends them. One worker of all does it.

A report is stored before it is sent, in place of the counts that it is made of. Each try is written
down before it begins. So no other process makes the same one, and one that dies loses none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import TypeVar
from urllib.parse import unquote

from msgspec.structs import replace

from babygun.dns import LookupFailed
from babygun.email.addresses import to_ascii_domain
from babygun.email.reasons import quoted_to_others
from babygun.errors import BabygunError, EtcdError, LeaseNotFound, OutOfResources
from babygun.routing.routes import Routes
from babygun.runtime.identifiers import new_short_id
from babygun.runtime.logs import get_logger
from babygun.runtime.metrics import TLS_REPORTS
from babygun.store import Store
from babygun.store.tls_reports.counts import CountedDay, counted_days, drop_counts
from babygun.store.tls_reports.leases import SharedLeases
from babygun.store.tls_reports.records import Place, TlsReport
from babygun.store.tls_reports.reports import (
    KeptReport,
    begin,
    change,
    open_reports,
    reports_of_day,
)
from babygun.tls_reports.counting import WRITTEN_BY, is_over
from babygun.tls_reports.mail import new_id, store_email
from babygun.tls_reports.post import Poster
from babygun.tls_reports.receivers import Receivers
from babygun.tls_reports.record import asks, understood
from babygun.tls_reports.report import merged, packed

log = get_logger("tls")

INTERVAL = 60.0  # s, between two rounds
_SPREAD = 4 * 3600  # s: not all senders of the world are to report at midnight (RFC 8460, 4.1)
_FOR = timedelta(days=1)  # that a place is tried (RFC 8460, 5.5)
_FIRST_WAIT, _LONGEST_WAIT = timedelta(minutes=5), timedelta(hours=4)  # each is twice as long
_LEAST_KEPT = 2 * 86_400.0  # s: as long as counts may come that are reported already
_AT_ONCE = 20
_DAYS = 4  # whose receivers are remembered: counts do not live longer

T = TypeVar("T", CountedDay, KeptReport)


class TlsReports:
    """Call :meth:`once` every INTERVAL in the worker that leads; :meth:`close` at the end."""

    def __init__(self, store: Store, routes: Routes) -> None:
        self._store, self._routes = store, routes
        self._poster = Poster(store.settings, routes.resolver)
        self._leases = SharedLeases(store.client, max(store.settings.retention, _LEAST_KEPT))
        settings = store.settings
        self._receivers: dict[str, Receivers] = {}  # by day
        self._counting = asyncio.Lock()
        self._submitter = to_ascii_domain(settings.tls_report_sender).rpartition("@")[2].lower()

    async def once(self, now: datetime) -> None:
        """Makes what is due, and sends what is. Raises EtcdError."""
        today = f"{now:%Y-%m-%d}"
        if self._is_time(now):
            await _some_at_once(counted_days(self._store, today), lambda day: self._make(day, now))
        await _some_at_once(open_reports(self._store), lambda kept: self._send(kept, now))

    async def close(self) -> None:
        await self._poster.close()

    def _is_time(self, now: datetime) -> bool:
        """Whether reports are made now. The time of day is another one each day."""
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        seed = blake2b(f"{self._submitter} {midnight:%Y-%m-%d}".encode(), digest_size=4).digest()
        wait = timedelta(seconds=int.from_bytes(seed, "big") % _SPREAD)
        return now >= midnight + WRITTEN_BY + wait

    # --- making ---

    async def _make(self, counted: CountedDay, now: datetime) -> None:
        day, domain = counted.day, counted.domain
        if not is_over(day, now):
            return
        try:
            uris = await asks(self._routes.resolver, domain)
        except (LookupFailed, OutOfResources) as error:
            log.debug("TLS report waits", domain=domain, day=day, error=str(error))
            return
        policies = merged(counted.counts)
        if not uris or not policies:
            await drop_counts(self._store, day, domain)
            return
        receivers = await self._receivers_of(day)
        settings = self._store.settings
        report = TlsReport(
            id=f"{day}.{new_short_id()}@{self._submitter}",
            day=day,
            domain=domain,
            made_at=now,
            organization=settings.tls_report_organization or self._submitter,
            contact=settings.tls_report_contact or settings.tls_report_sender,
            submitter=self._submitter,
            policies=policies,
            places=tuple(_new_place(uri, receivers, now) for uri in uris),
        )
        try:
            await begin(self._store, report, await self._leases.one())
        except LeaseNotFound:  # etcd was put back to an earlier state
            self._leases.forget()
            raise

    async def _receivers_of(self, day: str) -> Receivers:
        """Those of the reports that were made of a day, also by a process before this one."""
        async with self._counting:
            found = self._receivers.get(day)
            if found is None:
                found = Receivers()
                async for report in reports_of_day(self._store, day):
                    for place in report.places:
                        if place.state != "failed" and (target := understood(place.uri)):
                            found.add(target)
                self._receivers = {**dict(list(self._receivers.items())[1 - _DAYS :]), day: found}
            return found

    # --- sending ---

    async def _send(self, kept: KeptReport, now: datetime) -> None:
        """Sends a report to the places where it is due. Another worker may be first."""
        for number, place in enumerate(kept.report.places):
            if place.state != "waiting" or (place.next_at and place.next_at > now):
                continue
            begun = await self._change(kept, number, begun_try(place, now))
            if begun is None:
                return
            tried = await self._try(begun.report, begun.report.places[number], now)
            done = await self._change(begun, number, tried)
            if done is None:
                return
            kept = done

    async def _try(self, report: TlsReport, place: Place, now: datetime) -> Place:
        """The place after one try."""
        reason = await self._deliver(report, place)
        if not reason:
            TLS_REPORTS["sent"].inc()
            log.info(
                "TLS report sent", domain=report.domain, day=report.day, uri=_for_log(place.uri)
            )
            return replace(place, state="sent", next_at=None, sent_at=now, reason="")
        failed = after_failure(place, report.made_at, reason)
        TLS_REPORTS[failed.state if failed.state == "failed" else "deferred"].inc()
        log.warning(
            "TLS report not sent",
            domain=report.domain,
            day=report.day,
            uri=_for_log(place.uri),
            again=failed.state == "waiting",
            error=quoted_to_others(reason, 500),
        )
        return failed

    async def _deliver(self, report: TlsReport, place: Place) -> str:
        """Why it failed; empty: it did not."""
        target = understood(place.uri)
        try:
            if target is None:  # it was stored by another version
                return "nothing can be sent to such a place"
            if target.kind == "https":
                await self._poster.post(target.target, packed(report))
            else:
                await store_email(self._store, self._routes, report, target.target, place.email_id)
        except BabygunError as error:  # no route, no key, no answer, no file descriptor
            return str(error)
        return ""

    async def _change(self, kept: KeptReport, number: int, place: Place) -> KeptReport | None:
        places = kept.report.places
        changed = (*places[:number], place, *places[number + 1 :])
        return await change(self._store, kept, replace(kept.report, places=changed))


def _new_place(uri: str, receivers: Receivers, now: datetime) -> Place:
    """A place of a new report."""
    target = understood(uri)
    assert target is not None
    if why := receivers.add(target):
        TLS_REPORTS["failed"].inc()
        log.warning("TLS report refused", uri=_for_log(uri), error=quoted_to_others(why, 500))
        return Place(uri, "failed", reason=why)
    return Place(uri, next_at=now)


def _for_log(uri: str) -> str:
    """A place without its mailbox. No log names the address of a recipient."""
    scheme, _, rest = uri.partition(":")
    if scheme.lower() != "mailto":
        return uri
    return f"{scheme}:…@{unquote(rest.partition('?')[0]).rpartition('@')[2]}"


def begun_try(place: Place, now: datetime) -> Place:
    """The place as a try begins: the next one is due if this one never ends."""
    waits = min(_FIRST_WAIT * 2 ** min(place.tries, 10), _LONGEST_WAIT)
    email_id = place.email_id or (new_id() if place.uri.lower().startswith("mailto:") else "")
    return replace(place, tries=place.tries + 1, next_at=now + waits, email_id=email_id)


def after_failure(place: Place, made_at: datetime, reason: str) -> Place:
    """The place after a try that failed. A day after the first one there is no other."""
    assert place.next_at is not None
    if place.next_at > made_at + _FOR:
        return replace(place, state="failed", next_at=None, reason=reason)
    return replace(place, reason=reason)


async def _some_at_once(items: AsyncIterator[T], do: Callable[[T], Awaitable[None]]) -> None:
    """Does something with each, with some of them at the same time. Raises the first EtcdError.

    A fault of ours is logged: what a stranger's DNS says must not end the worker.
    """
    some: list[T] = []

    async def do_some() -> None:
        results = await asyncio.gather(*map(do, some), return_exceptions=True)
        tried = some.copy()
        some.clear()
        for item, error in zip(tried, results, strict=True):
            if isinstance(error, EtcdError) or not isinstance(error, Exception | None):
                raise error
            if error is not None:
                of = item.report if isinstance(item, KeptReport) else item
                log.error("TLS report crashed", exc=error, domain=of.domain, day=of.day)

    async for item in items:
        some.append(item)
        if len(some) == _AT_ONCE:
            await do_some()
    await do_some()
