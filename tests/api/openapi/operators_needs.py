"""What is there before an operator's documented calls are made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from babygun import __version__
from babygun.api.emails.fields import EMAIL_ID
from babygun.routing.providers import Limits, Rate
from babygun.runtime.clock import utc_now
from babygun.store import codec
from babygun.store.records import SiteReport, Worker
from babygun.store.sites.reports import write_report
from babygun.store.tls_reports import reports
from babygun.store.tls_reports.records import Place, PolicyCount, ReportedPolicy, TlsReport
from babygun.store.warm_ups import counts, sources
from tests.api.openapi.world import Needs, World
from tests.support.processes import PATIENCE
from tests.support.tries import WORKER

_STRAIGHT: Mapping[str, Any] = {"relay_url": "", "default": "mx"}
_SITE, _SOURCE = "mx:google", "192.0.2.7"


async def worker(world: World) -> None:
    now = utc_now()
    record = Worker(
        id=WORKER,
        pid=4242,
        hostname="mail-1",
        started_at=now - timedelta(hours=1),
        last_checkin=now,
        version=__version__,
        ip="192.0.2.10",
        checkins=1080,
        in_flight=12,
        slice=(0, 128),
        draining=False,
        queues={},
        delivered=48211,
        deferred=312,
        failed=17,
    )
    store = world.store
    lease = await store.client.grant(600)
    await store.client.put(store.keys.worker(WORKER), codec.encode_state(record), lease)


async def site(world: World) -> None:
    """Mail waits there for the site's pace."""
    report = SiteReport(
        site=_SITE,
        queues=311,
        waiting=1204,
        oldest=utc_now() - timedelta(seconds=12.4),
        connections=5,
        limits=Limits(5, 50, Rate(100, 1)),
        shared=True,
        sent=2900,
        deferred=12,
        why="pace",
    )
    lease = await world.store.client.grant(600)
    await write_report(world.store, [report], worker_id=WORKER, lease_id=lease)


async def held_site(world: World) -> None:
    await site(world)
    body = {"reason": "they asked us to pause", "lasts": "2h"}
    await world.called("POST", f"/sites/{_SITE}/hold", body)


async def limited_site(world: World) -> None:
    await site(world)
    body = {"connections": 2, "rate": "20/min", "lasts": "1d"}
    await world.called("POST", f"/sites/{_SITE}/limits", body)


async def new_source(world: World) -> None:
    """It has sent all that it may on its third day."""
    now, store = utc_now(), world.store
    kept = await sources.begin(store, _SOURCE, now - timedelta(days=2))
    today = now.date()
    await counts.take(store, kept, "mx:outlook", today, ceiling=200, wanted=200, workers=1)
    await counts.change(store, _SOURCE, "mx:outlook", today, put_off=130)


async def tls_report(world: World) -> None:
    now = utc_now()
    place = Place(
        "mailto:tls-reports@example.org",
        "sent",
        1,
        sent_at=now,
        email_id="019dc2f3-5b6e-7c01-8a4d-2f0e6b7a9c15",
    )
    policy = ReportedPolicy("no-policy-found", "example.org")
    report = TlsReport(
        id="2026-11-29.6f1d0c2b9a8e7f54@example.com",
        day="2026-11-29",
        domain="example.org",
        made_at=now,
        organization="Example",
        contact="postmaster@example.com",
        submitter="example.com",
        policies=(PolicyCount(policy, 1200),),
        places=(place,),
    )
    assert await reports.begin(world.store, report, 0)


async def processes(world: World) -> None:
    """The API has seen a worker, and itself."""
    await worker(world)
    await _until(world, "/overview", lambda seen: seen["workers"] and seen["apis"])


async def held_site_in_audit(world: World) -> None:
    """Both entries are written: that of the hold, and that of the API's key."""
    await held_site(world)
    page = await _until(world, "/audit", lambda page: all(e["ended_at"] for e in page["entries"]))
    world.names["web-1-04b7d19c3e"] = page["entries"][-1]["by"]  # its host's, if it just started


async def gone_email(world: World) -> None:
    """A listener has seen an e-mail, and then it was erased."""
    await world.delivered()
    email = await world.called("GET", f"/emails/{world.names[EMAIL_ID]}")
    # An id that nobody knows is answered with a reset, which says where the stream is.
    request = f"GET /events HTTP/1.1\nAuthorization: Bearer {world.token}\nLast-Event-ID: x"
    seen = 0
    while seen < email["revision"]:
        stream = await world.sent(request, like="\n\n" * 2)
        seen = int(stream.rpartition("id: ")[2])
    world.names["4711"] = str(seen)
    await world.erased()


async def _until(world: World, path: str, holds: Callable[[Any], object]) -> Any:
    """What a call answers once this holds of it."""
    async with asyncio.timeout(PATIENCE):
        while not holds(answer := await world.called("GET", path)):  # noqa: ASYNC110 (what others write)
            await asyncio.sleep(0.02)
    return answer


_OF_SITE = {"free": ("oldest_seconds",), "settings": _STRAIGHT}
_OF_SOURCE = Needs(new_source, settings=_STRAIGHT)
_MEASURED = (
    *("rates.accepted", "rates.delivered", "rates.deferred", "rates.failed"),
    *("queues.ready", "queues.waiting", "queues.oldest_ready_seconds", "in_flight"),
    *("heartbeat_age", "apis.id", "apis.pid", "apis.hostname", "apis.accepted"),
    *("endpoint", "members.version", "db_bytes", "db_in_use_bytes", "quota_bytes"),
    *("history.accepted", "history.delivered", "history.deferred", "history.failed"),
)
NEEDS: Mapping[str, Needs] = {
    "list_workers": Needs(worker),
    "list_sites": Needs(site, **_OF_SITE),
    "show_site": Needs(site, **_OF_SITE),
    "hold_site": Needs(site, **_OF_SITE),
    "resume_site": Needs(held_site, **_OF_SITE),
    "limit_site": Needs(site, **_OF_SITE),
    "unlimit_site": Needs(limited_site, **_OF_SITE),
    "list_warm_ups": _OF_SOURCE,
    "show_warm_up": _OF_SOURCE,
    "skip_warm_up": _OF_SOURCE,
    "restart_warm_up": _OF_SOURCE,
    "list_tls_reports": Needs(tls_report),
    "show_tls_report": Needs(tls_report),
    "show_overview": Needs(processes, free=_MEASURED),
    "list_audit": Needs(held_site_in_audit, free=("address",)),
    "show_events": Needs(gone_email),
    "show_metrics": Needs(cut=True),
    "show_openapi": Needs(cut=True),
}
