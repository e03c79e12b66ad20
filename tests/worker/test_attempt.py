"""A try: what becomes of its job where etcd does not answer."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from babygun.email.model import Job
from babygun.routing.routes import load_routes
from babygun.routing.sites import site_of_relay
from babygun.runtime.clock import utc_now
from babygun.store.cluster.checkin import Identity
from babygun.store.emails.acceptance import accept
from babygun.store.emails.new_email import prepare
from babygun.store.keys import JobRef
from babygun.store.unsubscribe.keys import UnsubscribeKeys
from babygun.store.upkeep import trusted_clock
from babygun.worker import attempt
from babygun.worker.attempt import Attempt, Attempts
from babygun.worker.counters import RecipientCounts
from babygun.worker.delivery import Delivery
from babygun.worker.sites.holds import SiteHolds
from tests.support.proxy import proxy_to
from tests.support.rig import Rig, changed, rig_for


async def test_email_whose_end_comes_while_etcd_is_away_is_tried_again(rig: Rig) -> None:
    async with proxy_to(rig.settings.etcd_endpoints[0]) as proxy:
        settings = changed(rig.settings, etcd_endpoints=(proxy.url,), etcd_timeout=1.0)
        async with rig_for(settings) as own:
            store, routes = own.store, load_routes(settings)
            delivery = Delivery(settings, routes, UnsubscribeKeys(store))
            holds = SiteHolds(
                store,
                routes.destinations,
                worker_id=lambda: "w1",
                wake=lambda: None,
                due=lambda _: None,
                ended=lambda _: None,
            )
            attempts = Attempts(store, delivery, RecipientCounts(str), holds)
            ref = JobRef(await own.send("ann@b.example"), "main")
            job = Job(1, 1, expires_at=utc_now() - timedelta(seconds=1))
            site, identity = site_of_relay("main", None), Identity(store.client, 10, "w1")
            proxy.cut()
            assert await attempts.run(Attempt(ref, job, site, identity)), "the job is still ready"
            proxy.mend()
            while await attempts.run(Attempt(ref, job, site, identity)):
                pass
            assert await own.events(ref.email_id) == ["accepted", "expired"]
            await delivery.close()


async def test_email_with_time_left_is_sent_by_a_worker_whose_clock_is_ahead(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def clock_ahead(*_: object) -> float:
        return 3600.0

    email, content = rig.email("ann@b.example")
    email = replace(email, expires_at=utc_now() + timedelta(minutes=30))
    for module in (attempt, trusted_clock):
        monkeypatch.setattr(module, "utc_now", lambda: utc_now() + timedelta(hours=1))
    monkeypatch.setattr(trusted_clock, "clock_ahead", clock_ahead)
    await accept(rig.store, "client", prepare(rig.store, email, content))
    async with rig.worker():
        assert (await rig.ended(email.id))[0].status == "complete"
