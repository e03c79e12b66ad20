"""What a worker does for TLS reports while it leads, and while it does not."""

from __future__ import annotations

import asyncio

import pytest

from babygun.routing.routes import load_routes
from babygun.runtime.tasks import cancel_all
from babygun.store.tls_reports.counts import write_count
from babygun.tls_reports import counting, reporting
from babygun.tls_reports.reporting import TlsReporting
from babygun.tls_reports.sender import TlsReports
from babygun.tls_reports.sums import Sums
from tests.support.processes import PATIENCE
from tests.support.tls_reports import session, to_domain
from tests.tls_reports.conftest import Asking


async def test_worker_that_leads_makes_and_sends_and_each_writes_what_it_counted(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (counting, reporting):
        monkeypatch.setattr(module, "INTERVAL", 0.01)
    monkeypatch.setattr(TlsReports, "_is_time", lambda *_: True)
    asking.ask(asking.url)
    store, sums = asking.rig.store, Sums()
    sums.add(to_domain(), session())
    await write_count(store, "2026-11-20", "a.example", "x", sums.count(), 0)
    leads, asked = False, asyncio.Event()

    def is_leading() -> bool:
        asked.set()
        return leads

    worker = TlsReporting(store, load_routes(store.settings))
    worker._patience = 60.0
    task = asyncio.create_task(worker.run(is_leading))
    worker.counts.add(to_domain("b.example"), session())
    await asking.rig.written(store.keys.tls_counts, b"b.example")
    await asyncio.wait_for(asked.wait(), PATIENCE)
    assert asking.posted == []
    leads = True
    await asking.rig.counted(store.keys.tls_reports_of("done"), 1)
    worker.counts.add(to_domain("c.example"), session())
    await cancel_all(task)
    await worker.close()
    await asking.rig.written(store.keys.tls_counts, b"c.example")
    assert [each["date-range"]["start-datetime"] for each in asking.posted] == [
        "2026-11-20T00:00:00Z"
    ]
