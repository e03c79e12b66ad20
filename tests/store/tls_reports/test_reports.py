"""TLS reports in etcd: made once, changed by one process at a time, listed in pages."""

from __future__ import annotations

from msgspec.structs import replace

from babygun.store.tls_reports.records import Place
from babygun.store.tls_reports.reports import (
    begin,
    change,
    find_report,
    list_reports,
    open_reports,
)
from tests.support.rig import Rig
from tests.support.tls_reports import REPORT

SENT = (Place("mailto:tls@a.example", "sent"),)


async def test_report_is_made_once_whether_it_is_open_or_done(rig: Rig) -> None:
    store = rig.store
    assert await begin(store, REPORT, 0)
    assert not await begin(store, replace(REPORT, id="other"), 0)
    [kept] = [each async for each in open_reports(store)]
    assert await change(store, kept, replace(REPORT, places=SENT))
    assert not await begin(store, replace(REPORT, id="other"), 0)
    found = await find_report(store, REPORT.day, REPORT.domain)
    assert found is not None and found.places == SENT and found.id == REPORT.id
    assert [each async for each in open_reports(store)] == []


async def test_report_that_another_process_has_changed_is_not_changed(rig: Rig) -> None:
    await begin(rig.store, REPORT, 0)
    [kept] = [each async for each in open_reports(rig.store)]
    tried = replace(REPORT, places=(replace(REPORT.places[0], tries=1),))
    changed = await change(rig.store, kept, tried)
    assert changed is not None and changed.report == tried
    assert await change(rig.store, kept, replace(REPORT, places=SENT)) is None
    assert await change(rig.store, changed, replace(REPORT, places=SENT)) is not None


async def test_pages_have_the_newest_day_first_and_each_report_once(rig: Rig) -> None:
    names = [(day, f"{n}.example") for day in ("2026-11-27", "2026-11-28") for n in "abc"]
    for number, (day, domain) in enumerate(names):
        places = SENT if number % 2 else REPORT.places
        await begin(rig.store, replace(REPORT, day=day, domain=domain, places=places), 0)
    await rig.store.client.put(rig.store.keys.tls_reports_of("done") + b"by hand", b"")
    await rig.store.client.put(rig.store.keys.tls_report("done", "2026-11-20", "x.example"), b"{")
    found, after = [], None
    while True:
        page = await list_reports(rig.store, 4, after=after)
        found += [(report.day, report.domain) for report in page.reports]
        if page.more is None:
            break
        after = page.more
    assert found == names[3:] + names[:3]
    page = await list_reports(rig.store, 10, day="2026-11-27", domain="b.example")
    assert [(report.day, report.domain) for report in page.reports] == [names[1]]
