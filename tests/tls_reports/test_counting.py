"""What workers count is in etcd for the domains that ask for reports, and for no others."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from babygun.dns import Resolver
from babygun.email.model import TlsResult
from babygun.routing.destination import Destination, to_relay
from babygun.routing.server import Server
from babygun.runtime.clock import utc_now
from babygun.store import Store
from babygun.store.tls_reports.counts import CountedDay, counted_days
from babygun.tls_reports import counting
from babygun.tls_reports.counting import TlsCounts, is_over
from tests.support.tls_reports import session, to_domain
from tests.tls_reports.conftest import Asking

pytestmark = pytest.mark.usefixtures("one_day")


def counts_of(store: Store) -> TlsCounts:
    return TlsCounts(store, Resolver(store.settings.resolvers, timeout=20.0))


async def counted(store: Store) -> list[CountedDay]:
    tomorrow = f"{utc_now() + timedelta(days=1):%Y-%m-%d}"
    return [day async for day in counted_days(store, tomorrow)]


async def test_each_worker_writes_its_own_sums_and_a_repeated_write_adds_nothing(
    asking: Asking,
) -> None:
    asking.ask("mailto:tls@a.example")
    store = asking.rig.store
    one, other = counts_of(store), counts_of(store)
    for counts in (one, other, one):
        counts.add(to_domain(), session())
        counts.add(to_domain("b.example"), session(TlsResult()))
        for _ in range(2):
            await counts.write()
            for day in counts._days.values():
                day.changed |= day.sums.keys()
    first, second = await counted(store)
    assert (first.domain, second.domain) == ("a.example", "b.example")
    assert sorted(each.policies[0].successful for each in first.counts) == [1, 2]
    assert sorted(each.policies[0].failed for each in second.counts) == [1, 2]


async def test_domain_that_asks_for_nothing_is_not_written_and_one_that_dns_hides_is_later(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = asking.rig.store
    counts = counts_of(store)
    asking.ask()
    counts.add(to_domain(), session())
    await counts.write()
    asking.host.txt = None  # SERVFAIL
    counts.add(to_domain("b.example"), session())
    await counts.write()
    assert await counted(store) == []
    asking.ask("mailto:tls@b.example")
    again = TlsCounts(store, Resolver(store.settings.resolvers, timeout=20.0))
    again._days = counts._days
    await again.write()
    assert [day.domain for day in await counted(store)] == ["b.example"]


@pytest.mark.parametrize(
    "destination",
    [
        to_relay("main", Server("relay.example", 25)),
        to_domain(tls="none"),
        to_domain().without_policies(),
        to_domain("own.example"),
    ],
    ids=["relay", "no TLS", "whatever policies demand", "our own policy"],
)
async def test_connection_that_says_nothing_of_the_domain_is_not_counted(
    asking: Asking, destination: Destination
) -> None:
    asking.ask("mailto:tls@a.example")
    settings = replace(asking.rig.settings, tls_policies={"own.example": "encrypted"})
    async with Store(settings) as store:
        counts = counts_of(store)
        counts.add(destination, session())
        await counts.write()
        assert await counted(store) == []


async def test_lost_lease_costs_no_counts(asking: Asking) -> None:
    """It is gone where etcd was put back to an earlier state."""
    asking.ask("mailto:tls@a.example")
    store = asking.rig.store
    counts = counts_of(store)
    counts.add(to_domain(), session())
    await counts.write()
    [lease] = next(iter(counts._days.values())).leases.values()
    await store.client.revoke(lease)
    assert await counted(store) == []
    counts.add(to_domain(), session())
    for _ in range(2):
        await counts.write()
    [day] = await counted(store)
    assert day.counts[0].policies[0].successful == 2


async def test_pages_of_counts_keep_all_processes_of_a_domain_together(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking.ask("mailto:tls@a.example")
    store = asking.rig.store
    for _ in range(3):
        counts = counts_of(store)
        for name in ("a", "b", "c"):
            counts.add(to_domain(f"{name}.example"), session())
        await counts.write()
    monkeypatch.setattr("babygun.store.tls_reports.counts._PAGE", 2)
    assert [(day.domain, len(day.counts)) for day in await counted(store)] == [
        ("a.example", 3),
        ("b.example", 3),
        ("c.example", 3),
    ]
    await store.client.put(store.keys.tls_counts + b"1-by-hand/x", b"")
    await store.client.put(store.keys.tls_count("2026-01-01", "a.example", "x"), b"{")
    assert next(iter(await counted(store))).counts == ()


def test_day_is_over_when_all_workers_have_written() -> None:
    midnight = datetime(2026, 11, 30, tzinfo=UTC)
    assert not is_over("2026-11-29", midnight + timedelta(minutes=9))
    assert is_over("2026-11-29", midnight + timedelta(minutes=11))
    assert not is_over("2026-11-30", midnight + timedelta(hours=12))


async def test_domains_of_a_day_are_bounded(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "_MOST_DOMAINS", 2)
    counts = counts_of(asking.rig.store)
    for number in range(5):
        counts.add(to_domain(f"d{number}.example"), session())
    [day] = counts._days.values()
    assert list(day.sums) == ["d0.example", "d1.example"]
