"""A try: what becomes of its job where etcd does not answer."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from babygun.email.model import Email, Job
from babygun.email.suppression import Suppression
from babygun.errors import EtcdUnavailable
from babygun.routing.routes import load_routes
from babygun.routing.sites import site_of_relay
from babygun.runtime.clock import utc_now
from babygun.store import Store
from babygun.store.cluster.checkin import Identity
from babygun.store.emails.acceptance import accept
from babygun.store.emails.new_email import prepare
from babygun.store.keys import JobRef
from babygun.store.suppressions.lookup import find_in_queue
from babygun.store.unsubscribe.keys import UnsubscribeKeys
from babygun.store.upkeep import trusted_clock
from babygun.worker import attempt
from babygun.worker.attempt import Attempt, Attempts
from babygun.worker.counters import RecipientCounts
from babygun.worker.delivery import Delivery
from babygun.worker.return_paths import ReturnPaths
from babygun.worker.signing import Signers
from babygun.worker.sites.holds import SiteHolds
from tests.support.invariants import check_invariants
from tests.support.proxy import proxy_to
from tests.support.rig import Rig, changed, rig_for
from tests.support.smtp_server import MisbehavingServer
from tests.support.tries import make_due_now


async def test_email_whose_end_comes_while_etcd_is_away_is_tried_again(rig: Rig) -> None:
    async with proxy_to(rig.settings.etcd_endpoints[0]) as proxy:
        settings = changed(rig.settings, etcd_endpoints=(proxy.url,), etcd_timeout=1.0)
        async with rig_for(settings) as own:
            store, routes = own.store, load_routes(settings)
            return_paths = ReturnPaths(store, routes)
            delivery = Delivery(
                settings, routes, UnsubscribeKeys(store), Signers(store), return_paths
            )
            holds = SiteHolds(
                store,
                routes.destinations,
                worker_id=lambda: "w1",
                wake=lambda: None,
                due=lambda _: None,
                ended=lambda _: None,
            )
            attempts = Attempts(store, delivery, RecipientCounts(str), holds)
            ref = JobRef(await rig.send("ann@b.example"), "main")
            job = Job(1, 1, expires_at=utc_now() - timedelta(seconds=1))
            site, identity = site_of_relay("main", None), Identity(store.client, 10, "w1")
            proxy.cut()
            assert await attempts.run(Attempt(ref, job, site, identity)), "the job is still ready"
            proxy.mend()
            while await attempts.run(Attempt(ref, job, site, identity)):
                pass
            assert await rig.events(ref.email_id) == ["accepted", "expired"]
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


async def test_recipient_that_is_suppressed_meanwhile_is_left_out_of_a_later_try(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    email_id = await rig.send("flaky-1a@example.org", "flaky-1b@example.org")
    async with rig.worker(retry_intervals=(3600.0,)):
        await rig.logged(email_id, "deferred")
        await rig.suppress("FLAKY-1a@example.org", reason="unsubscribe")
        await make_due_now(rig.store, email_id, "main")
        [email] = await rig.ended(email_id)
    assert [(r.status, r.reply_class, r.tries) for r in email.recipients] == [
        ("suppressed", "unsubscribe", 1),
        ("delivered", "delivered", 2),
    ]
    assert email.status == "complete"
    assert [message.recipients for message in smtp.messages] == [("flaky-1b@example.org",)]
    assert await rig.events(email_id) == ["accepted", "deferred", "suppressed"]
    await check_invariants(rig.store)


async def test_scheduled_email_is_looked_up_before_its_first_try(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    at = utc_now() + timedelta(hours=1)
    both = await rig.send("ann@example.org", "bob@example.org", send_at=at)
    alone = await rig.send("ann@example.org", send_at=at)
    ignoring = await rig.send("ann@example.org", send_at=at, ignore_suppressions=True)
    await rig.suppress("ann@example.org")
    for email_id in (both, alone, ignoring):
        await make_due_now(rig.store, email_id, "main")
    async with rig.worker():
        one, two, three = await rig.ended(both, alone, ignoring)
    assert [one.status, two.status, three.status] == ["complete", "failed", "complete"]
    assert two.status_reason == "all recipients suppressed"
    assert sorted(message.recipients for message in smtp.messages) == [
        ("ann@example.org",),
        ("bob@example.org",),
    ]
    assert await rig.events(alone) == ["accepted", "suppressed"]
    await check_invariants(rig.store)


async def test_job_goes_back_where_etcd_does_not_say_who_is_suppressed(
    rig: Rig, smtp: MisbehavingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[EtcdUnavailable] = [EtcdUnavailable("away")]

    async def away_once(store: Store, email: Email, queue: str) -> dict[str, Suppression]:
        if answers:
            raise answers.pop()
        return await find_in_queue(store, email, queue)

    monkeypatch.setattr(attempt, "find_in_queue", away_once)
    email_id = await rig.send("flaky-1@example.org")
    async with rig.worker():
        [email] = await rig.ended(email_id)
    assert not answers and (email.status, email.tries) == ("complete", 2)
    await check_invariants(rig.store)


async def test_bounce_that_says_that_a_mailbox_is_gone_suppresses_the_next_email(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    async with rig.worker():
        first = await rig.send("hard@example.org", "full@example.org", "ann@example.org")
        await rig.logged(first, "deferred")
        second = await rig.send("hard@example.org")
        assert (await rig.get(second)).status_reason == "all recipients suppressed"
        third = await rig.send("hard@example.org", ignore_suppressions=True)
        assert (await rig.ended(third))[0].recipients[0].status == "bounced"
