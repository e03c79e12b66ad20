"""What workers say of the sites for which they have mail: each by a key on its lease."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec.structs import replace

from babygun.store import codec
from babygun.store.keys import range_end
from babygun.store.records import SiteReport, WorkerReport
from babygun.store.store import Store

MOST = 500  # sites in one report


async def write_report(
    store: Store, sites: Sequence[SiteReport], *, worker_id: str, lease_id: int
) -> None:
    """Replaces a worker's report. Raises EtcdError."""
    report = WorkerReport(at=await store.clock.now(), sites=tuple(sites))
    await store.client.put(store.keys.report(worker_id), codec.encode_state(report), lease_id)


async def read_reports(store: Store) -> list[SiteReport]:
    """What all workers together say, those with the most mail first. Raises EtcdError."""
    sites: dict[str, SiteReport] = {}
    for report in (await _read(store)).values():
        for row in report.sites:
            known = sites.get(row.site)
            sites[row.site] = row if known is None else _together(known, row)
    return sorted(sites.values(), key=lambda row: (-row.waiting, row.site))


async def asked_elsewhere(store: Store, site: str, worker_id: str) -> Counter[str]:
    """What the other workers say that a site's replies have asked for. Raises EtcdError."""
    found: Counter[str] = Counter()
    for key, report in (await _read(store)).items():
        if key != store.keys.report(worker_id):
            for row in report.sites:
                if row.site == site:
                    found.update(row.asked)
    return found


async def _read(store: Store) -> dict[bytes, WorkerReport]:
    """By key."""
    prefix = store.keys.reports
    found = await store.client.range(prefix, range_end(prefix))
    return {kv.key: report for kv in found.kvs if (report := codec.state_of(kv, WorkerReport))}


def _together(one: SiteReport, other: SiteReport) -> SiteReport:
    """What two workers say of a site. A queue that waits at both counts twice."""
    oldest = [row.oldest for row in (one, other) if row.oldest is not None]
    return replace(
        one,
        queues=one.queues + other.queues,
        waiting=one.waiting + other.waiting,
        oldest=min(oldest, default=None),
        connections=one.connections + other.connections,
        slots=one.slots + other.slots,
        limits=one.limits or other.limits,
        sent=one.sent + other.sent,
        deferred=one.deferred + other.deferred,
        why=one.why or other.why,
        asked=dict(Counter(one.asked) + Counter(other.asked)),
    )
