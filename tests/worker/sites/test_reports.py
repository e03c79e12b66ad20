"""What a worker says of its sites."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from babygun.intake.ids import new_email_id
from babygun.routing.providers import Limits, Rate
from babygun.routing.sites import Site, site_of_relay
from babygun.store.cluster.checkin import Identity
from babygun.store.sites.reports import read_reports
from babygun.worker.sites.permits import SitePermits
from babygun.worker.sites.reports import Reports
from tests.support.rig import Rig
from tests.worker.sites.test_permits import nobody, permits_of

LIMITS = Limits(3, 100, Rate(1000, 1.0))


class Waits(NamedTuple):
    site: Site
    obstacle: str
    jobs: int
    queues: int
    oldest: str


async def test_report_says_what_waits_and_what_was_sent_in_the_last_minute(rig: Rig) -> None:
    busy = permits_of(LIMITS)
    held = busy.site._replace(name="mx:held")
    waiting = [
        Waits(held, "held", 7, 2, new_email_id()),
        Waits(site_of_relay("main", None), "limit", 1000, 1, new_email_id()),
    ]
    reports = Reports(
        rig.store,
        {busy.site.name: busy},
        waiting=lambda: waiting,
        limits_of=lambda site: site.limits or LIMITS,
    )
    assert busy.try_take(nobody)
    first, second = reports.rows(0.0)
    assert (first.site, first.waiting, first.queues, first.why) == ("mx:held", 7, 2, "held")
    assert first.oldest is not None
    assert (second.site, second.connections, second.limits) == ("mx:one", 1, LIMITS)
    busy.sent, busy.deferred = 5, 2
    sent = {at: (row.sent, row.deferred) for at in (30.0, 60.0, 95.0) for row in reports.rows(at)}
    assert sent == {30.0: (5, 2), 60.0: (5, 2), 95.0: (0, 0)}


def test_report_says_what_a_sites_replies_ask_for_though_no_mail_waits() -> None:
    asked = {"mx:quiet": {"server busy": 2}}
    reports = Reports(
        cast(Any, None), {}, waiting=tuple, limits_of=lambda _: LIMITS, asked=lambda: asked
    )
    (row,) = reports.rows(0.0)
    assert (row.site, row.waiting, row.asked) == ("mx:quiet", 0, {"server busy": 2})


async def test_report_is_written_only_where_it_says_anything_new(rig: Rig) -> None:
    identity = Identity(rig.store.client, 30, "w1")
    await identity.start()
    states: dict[str, SitePermits] = {}
    reports = Reports(rig.store, states, waiting=tuple, limits_of=lambda site: LIMITS)
    key = rig.store.keys.report("w1")
    await reports.once(identity)
    assert await rig.store.client.get(key) is None, "there is nothing to say"
    states["mx:one"] = permits_of(LIMITS)
    await reports.once(identity)
    kv = await rig.store.client.get(key)
    assert kv is not None and [row.site for row in await read_reports(rig.store)] == ["mx:one"]
    await reports.once(identity)
    assert await rig.store.client.get(key) == kv
    del states["mx:one"]
    await reports.once(identity)
    assert await read_reports(rig.store) == []
    await identity.close()
    assert await rig.store.client.get(key) is None
