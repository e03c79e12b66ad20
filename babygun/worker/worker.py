"""The worker: claims the jobs of its slice and delivers them, hundreds at once on one event loop.

    membership ─slice─▶ dispatch ─jobs─▶ attempts: claim ─▶ delivery ─▶ finisher

Nothing here is authoritative. A worker that dies anywhere loses no e-mail: etcd has its jobs, and
its lease runs out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from itertools import islice
from typing import Any

from babygun.consumer.consumer import Consumer, ConsumerFactory
from babygun.consumer.membership import Membership
from babygun.consumer.slices import Slice
from babygun.routing.destination import Destination
from babygun.routing.routes import load_routes
from babygun.routing.sites import Site, site_of_relay
from babygun.routing.warm_up import read_plan
from babygun.runtime.metric_types import MOST_QUEUES
from babygun.runtime.settings import Settings
from babygun.runtime.tasks import cancel_all
from babygun.smtp.tls_checks import TlsSession
from babygun.store import Store
from babygun.store.cluster.health import Checkup
from babygun.store.unsubscribe.keys import UnsubscribeKeys
from babygun.tls_policies import refresh
from babygun.tls_policies.policies import StsPolicies
from babygun.tls_reports.reporting import TlsReporting
from babygun.worker import gauges
from babygun.worker.attempt import Attempts
from babygun.worker.counters import RecipientCounts
from babygun.worker.delivery import Delivery
from babygun.worker.dispatch import Dispatch
from babygun.worker.domain_alarms import DomainAlarms
from babygun.worker.duties import Duties
from babygun.worker.return_paths import ReturnPaths
from babygun.worker.signing import Signers
from babygun.worker.sites.sites import Sites
from babygun.worker.slots import KEPT_SITES
from babygun.worker.tls_sessions import count_session
from babygun.worker.warm_ups import WarmUps

# Claims for each of a destination's connections, and beyond. They hide the time that a claim and a
# finish take, and let batches grow. More would only be owned, out of the reach of other workers
# and of a cancel.
_PER_CONNECTION, _AHEAD = 8, 32
_PER_CONNECTION_MX = 2  # there are many sites


class Worker:
    """One worker. :meth:`run` until :meth:`stop`. ``beside``: what else it is to consume."""

    def __init__(self, settings: Settings, beside: Sequence[ConsumerFactory] = ()) -> None:
        self._routes = routes = load_routes(settings)
        self._settings, self.store = settings, Store(settings)
        self._sites = Sites(
            self.store,
            routes.destinations,
            identity=lambda: self.membership.identity,
            workers=lambda: self.membership.workers,
            wake=lambda: self.dispatch.wake(),
            may_go_on=lambda site: self.dispatch.go_on(site),
            sender_may_go_on=lambda site, sender: self.dispatch.sender_may_go_on(site, sender),
            waiting=lambda: self.dispatch.ready.waiting(),
            to_mx=routes.to_mx,
        )
        self._sts: StsPolicies | None = None
        self._tls_reporting: TlsReporting | None = None
        if routes.to_mx:
            self._sts = StsPolicies(self.store, routes.resolver)
            routes.sts_policy_of = self._sts.of
            if settings.tls_reports:
                self._tls_reporting = TlsReporting(self.store, routes)
        self._link_keys = UnsubscribeKeys(self.store)
        self._return_paths = ReturnPaths(self.store, routes)
        self._domain_alarms = DomainAlarms(self.store)
        plan = read_plan(settings)
        self._warm_ups = (
            WarmUps(self.store, plan, lambda: self.membership.workers)
            if plan is not None and routes.to_mx
            else None
        )
        self._delivery = Delivery(
            settings,
            routes,
            self._link_keys,
            Signers(self.store),
            self._return_paths,
            permits_of=self._sites.permits,
            replied=self._sites.replied,
            warm_ups=self._warm_ups,
            tls_session=self._tls_sessions(),
            unauthenticated=self._domain_alarms.refused,
        )
        counts = RecipientCounts(routes.label)
        self._attempts = Attempts(self.store, self._delivery, counts, self._sites.holds)
        self.membership = Membership(
            self.store,
            in_flight=lambda: len(self.dispatch.in_flight),
            counts=counts,
            changed=self._slice_changed,
            died=self._attempts.reclaims.worker_died,
            queues=routes.fingerprints(),
        )
        self.dispatch = Dispatch(
            self.store,
            self.membership,
            self._attempts,
            self._sites,
            kept=KEPT_SITES if routes.to_mx else len(routes.destinations),
            site_of=routes.known_site,
            find_site=self._find_site,
            find_again=self._find_site_again,
            limit=self._most_claims,
        )
        self._consumers: list[Consumer] = [
            self.dispatch,
            *(make(self.store, self.membership, self._is_sending) for make in beside),
        ]
        self.health = Checkup(self.store, "worker", routes)
        self._duties = Duties(
            self.store, self.membership, self.dispatch, self._sites.holds, counts, self.health
        )
        self._stopping = asyncio.Event()

    @property
    def draining(self) -> bool:
        """Whether it was asked to stop."""
        return self._stopping.is_set()

    def stands_still(self) -> str:
        """The part of this worker that hangs; empty if none does, or the worker stops."""
        patience = self._settings.watchdog
        watches = patience and not self.draining
        return "check-in" if watches and self.membership.stands_still(patience) else ""

    def show_state(self) -> None:
        """Puts the present state into the metrics."""
        known = list(islice(self._routes.destinations, MOST_QUEUES))
        gauges.show_jobs(self.dispatch, known)
        gauges.show_connections(self._delivery.pools, known)
        gauges.show_membership(self.membership)
        gauges.show_domains(self.store.domains.all())

    def stop(self) -> None:
        """Begins the graceful stop: nothing new is claimed, what is in flight is drained."""
        self._stopping.set()
        for consumer in self._consumers:
            consumer.stop()

    async def run(self, started: Callable[[], None] | None = None) -> None:
        """Works until stopped. Raises the error of a part that failed.

        Raises SettingsError where it can't work with this etcd. ``started`` is called after that
        check.
        """
        await self.store.start()
        try:
            await self.health.require()
        except BaseException:
            await self.store.close()
            raise
        if started:
            started()
        services = [
            asyncio.create_task(service, name=name) for name, service in self._services().items()
        ]
        stopping = asyncio.create_task(self._stopping.wait(), name="stopping")
        try:
            done, _ = await asyncio.wait([*services, stopping], return_when=asyncio.FIRST_COMPLETED)
            self.stop()
            self.membership.drain()
            await asyncio.gather(*(part.drain() for part in self._consumers))
            for task in done - {stopping}:
                task.result()
        finally:
            await cancel_all(*services, stopping)
            await asyncio.gather(*(part.close() for part in self._consumers))
            await self._delivery.close()
            if self._warm_ups is not None:
                await self._warm_ups.parts.close()
            await self._domain_alarms.close()
            if self._sts is not None:
                await self._sts.close()
            if self._tls_reporting is not None:
                await self._tls_reporting.close()
            await self._sites.close()
            await self.membership.leave()
            await self.store.close()

    def _services(self) -> dict[str, Coroutine[Any, Any, None]]:
        """All that runs as long as the worker does. If one fails, the worker ends."""
        return {
            **self._tls_services(),
            **({"warm-ups": self._warm_ups.parts.run()} if self._warm_ups else {}),
            "check-in": self._check_in(),
            "live workers": self.membership.follow(),
            "sites": self._sites.run(),
            "unsubscribe keys": self._link_keys.run(),
            "return path keys": self._return_paths.keys.run(),
            **{type(part).__name__: part.run() for part in self._consumers},
            "health": self.health.run(),
            "webhooks known": self.store.webhooks.run(),
            "domains known": self.store.domains.run(),
            **self._duties.services(),
        }

    def _tls_services(self) -> dict[str, Coroutine[Any, Any, None]]:
        found: dict[str, Coroutine[Any, Any, None]] = {}
        if self._sts is not None:
            found["TLS policies"] = refresh.run(
                self.store, self._sts, lambda: self.membership.leads
            )
        if self._tls_reporting is not None:
            found["TLS reports"] = self._tls_reporting.run(lambda: self.membership.leads)
        return found

    def _tls_sessions(self) -> Callable[[Destination, TlsSession], None]:
        """What is called with each connection that used TLS, or should have."""
        if self._tls_reporting is None:
            return count_session
        count = self._tls_reporting.counts.add

        def both(destination: Destination, session: TlsSession) -> None:
            count_session(destination, session)
            count(destination, session)

        return both

    async def _find_site(self, queue: str) -> Site:
        """Looks up a queue's site. If there is none, the try of its first job says why.

        So it does after our own fault: otherwise the queue would wait for ever.
        """
        try:
            return await self._routes.find_site(queue)
        except Exception:
            return self._routes.known_site(queue) or site_of_relay(queue, None)

    async def _find_site_again(self, queue: str) -> Site | None:
        """Looks up a queue's site once more. None: it stays as it is."""
        try:
            return await self._routes.find_site_again(queue)
        except Exception:  # such as no descriptor left; the next look is soon
            return None

    def _most_claims(self, site: Site) -> int:
        """Tries of a site that may be in flight at once."""
        if relay := self._routes.destinations.get(site.name):
            return _PER_CONNECTION * relay.max_connections + _AHEAD
        return _PER_CONNECTION_MX * site.limits.connections if site.limits else 1

    # --- services ---

    def _is_sending(self) -> bool:
        return len(self.dispatch.in_flight) > 0

    def _slice_changed(self, part: Slice) -> None:
        for consumer in self._consumers:
            consumer.follow(part)

    async def _check_in(self) -> None:
        await self.health.join()
        await self.membership.check_in()
