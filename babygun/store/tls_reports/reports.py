"""The TLS reports: made once from the counts, kept open until everybody has got them, and read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import NamedTuple, get_args

from babygun.etcd import KeyValue, Txn, absent, delete, delete_range, modified_at, put
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.keys import ReportState, range_end
from babygun.store.store import Store
from babygun.store.tls_reports.records import TlsReport

_PAGE = 50  # keys of one read; some KB each
_STATES: tuple[ReportState, ...] = get_args(ReportState)


class KeptReport(NamedTuple):
    """A report as it was read. ``revision``: the key's mod revision."""

    report: TlsReport
    revision: int
    lease: int


async def begin(store: Store, report: TlsReport, lease: int) -> bool:
    """Stores a new report, in place of what it was made of. Raises EtcdError.

    False: there is one of this domain and day already. What was counted later is dropped.
    """
    day, domain = report.day, report.domain
    counts = store.keys.domain_tls_counts(day, domain)
    dropped = delete_range(counts, range_end(counts))
    key = store.keys.tls_report("open" if report.open else "done", day, domain)
    unreported = [absent(store.keys.tls_report(state, day, domain)) for state in _STATES]
    written = put(key, codec.encode_state(report), lease)
    return (await store.client.txn(Txn(unreported, [written, dropped], [dropped]))).succeeded


async def change(store: Store, kept: KeptReport, report: TlsReport) -> KeptReport | None:
    """Writes an open report again. Raises EtcdError. None: another process has changed it."""
    of = store.keys.tls_report
    opened = of("open", report.day, report.domain)
    if report.open:
        ops = [put(opened, codec.encode_state(report), kept.lease)]
    else:
        done = of("done", report.day, report.domain)
        ops = [put(done, codec.encode_state(report), kept.lease), delete(opened)]
    result = await store.client.txn(Txn([modified_at(opened, kept.revision)], ops))
    return KeptReport(report, result.revision, kept.lease) if result.succeeded else None


async def open_reports(store: Store) -> AsyncIterator[KeptReport]:
    """Those that are to be sent still, the oldest day first. Raises EtcdError."""
    async for kept in _read(store, store.keys.tls_reports_of("open")):
        yield kept


async def reports_of_day(store: Store, day: str) -> AsyncIterator[TlsReport]:
    """Those of one day, by which somebody has got a report or is to get one. Raises EtcdError."""
    for state in _STATES:
        async for kept in _read(store, store.keys.tls_reports_of(state) + f"{day}/".encode()):
            yield kept.report


async def _read(store: Store, prefix: bytes) -> AsyncIterator[KeptReport]:
    start = prefix
    while True:
        found = await store.client.range(start, range_end(prefix), limit=_PAGE)
        for kept in _decoded(found.kvs):
            yield kept
        if not found.more:
            return
        start = found.kvs[-1].key + b"\0"


async def find_report(store: Store, day: str, domain: str) -> TlsReport | None:
    """Raises EtcdError."""
    keys = [store.keys.tls_report(state, day, domain) for state in _STATES]
    found = await store.client.get_many(keys)
    return next((kept.report for kept in _decoded(found.values())), None)


class ReportPage(NamedTuple):
    """``more``: day and domain of the last one, if there are more."""

    reports: list[TlsReport]
    more: tuple[str, str] | None


async def list_reports(
    store: Store,
    limit: int,
    *,
    day: str = "",
    domain: str = "",
    after: tuple[str, str] | None = None,
) -> ReportPage:
    """The newest day first, its domains in order. Raises EtcdError.

    ``day``, ``domain``: only those. ``after``: those that come after this one.
    """
    keys: dict[tuple[str, str], bytes] = {}
    for state in _STATES:
        prefix = store.keys.tls_reports_of(state)
        start = prefix + f"{day}/".encode() if day else prefix
        for kv in (await store.client.range(start, range_end(start), keys_only=True)).kvs:
            try:
                keys[store.keys.parse_tls_report(kv.key)] = kv.key
            except ValueError as error:
                log_unreadable(kv.key, error)
    wanted = [name for name in _in_order(keys) if domain in ("", name[1])]
    if after is not None:
        wanted = [name for name in wanted if _comes_after(name, after)]
    page = wanted[:limit]
    found = await store.client.get_many([keys[name] for name in page])
    reports = [kept.report for kept in _decoded(found.values())]
    reports.sort(key=lambda report: page.index((report.day, report.domain)))
    return ReportPage(reports, page[-1] if len(wanted) > limit else None)


def _in_order(names: Iterable[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    by_domain = sorted(names, key=lambda name: name[1])
    return sorted(by_domain, key=lambda name: name[0], reverse=True)


def _comes_after(name: tuple[str, str], other: tuple[str, str]) -> bool:
    return name[0] < other[0] or (name[0] == other[0] and name[1] > other[1])


def _decoded(kvs: Iterable[KeyValue]) -> list[KeptReport]:
    return [
        KeptReport(report, kv.mod_revision, kv.lease)
        for kv in kvs
        if (report := codec.state_of(kv, TlsReport))
    ]
