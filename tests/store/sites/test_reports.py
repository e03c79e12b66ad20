"""What workers say of their sites, added up."""

from __future__ import annotations

from babygun.routing.providers import Limits, Rate
from babygun.runtime.clock import utc_now
from babygun.store.records import SiteReport
from babygun.store.sites.reports import asked_elsewhere, read_reports, write_report
from tests.support.rig import Rig


async def test_reports_of_all_workers_are_added_up(rig: Rig) -> None:
    store, now = rig.store, utc_now()
    lease = await store.client.grant(600)
    limits = Limits(2, 20, Rate(5, 1.0))
    one = SiteReport(
        site="mx:a", queues=1, waiting=3, oldest=now, limits=limits, sent=2, asked={"busy": 1}
    )
    two = SiteReport(
        site="mx:a", queues=2, waiting=4, connections=1, slots=1, why="held", asked={"busy": 2}
    )
    other = SiteReport(site="mx:b", waiting=8)
    await write_report(store, [one, other], worker_id="w1", lease_id=lease)
    await write_report(store, [two], worker_id="w2", lease_id=lease)
    await store.client.put(store.keys.report("w3"), b"rubbish", lease)
    first, second = await read_reports(store)
    assert first == other
    assert (second.queues, second.waiting, second.oldest, second.sent) == (3, 7, now, 2)
    assert (second.connections, second.slots, second.why, second.limits) == (1, 1, "held", limits)
    assert second.asked == {"busy": 3}
    assert await asked_elsewhere(store, "mx:a", "w1") == {"busy": 2}
    assert await asked_elsewhere(store, "mx:b", "w1") == {}
