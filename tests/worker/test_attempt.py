"""A try: what becomes of its job where etcd does not answer."""

from __future__ import annotations

from datetime import timedelta

from babygun.email.model import Job
from babygun.routing.routes import load_routes
from babygun.runtime.clock import utc_now
from babygun.store.cluster.checkin import Identity
from babygun.store.keys import JobRef
from babygun.worker.attempt import Attempt, Attempts
from babygun.worker.counters import RecipientCounts
from babygun.worker.delivery import Delivery
from babygun.worker.holds import QueueHolds
from tests.support.proxy import proxy_to
from tests.support.rig import Rig, changed, rig_for


async def test_email_whose_end_comes_while_etcd_is_away_is_tried_again(rig: Rig) -> None:
    async with proxy_to(rig.settings.etcd_endpoints[0]) as proxy:
        settings = changed(rig.settings, etcd_endpoints=(proxy.url,), etcd_timeout=1.0)
        async with rig_for(settings) as own:
            store, routes = own.store, load_routes(settings)
            delivery = Delivery(settings, routes)
            holds = QueueHolds(
                store,
                routes.destinations,
                worker_id=lambda: "w1",
                wake=lambda: None,
                ended=lambda _: None,
            )
            attempts = Attempts(store, delivery, RecipientCounts(), holds)
            ref = JobRef(await own.send("ann@b.example"), "main")
            job = Job(1, 1, expires_at=utc_now() - timedelta(seconds=1))
            identity = Identity(store.client, 10, "w1")
            proxy.cut()
            assert await attempts.run(Attempt(ref, job, identity)), "the job is still ready"
            proxy.mend()
            while await attempts.run(Attempt(ref, job, identity)):
                pass
            assert await own.events(ref.email_id) == ["accepted", "expired"]
            await delivery.close()
