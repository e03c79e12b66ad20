"""Reports are made once of what all workers counted, and sent until somebody has them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from babygun.email.model import Email, TlsResult
from babygun.errors import LeaseNotFound, OutcomeUnknown
from babygun.routing.routes import load_routes
from babygun.runtime.metrics import TLS_REPORTS
from babygun.store import Store, codec
from babygun.store.keys import range_end
from babygun.store.tls_reports.counts import counted_days, write_count
from babygun.store.tls_reports.records import Place, TlsReport
from babygun.store.tls_reports.reports import find_report, open_reports
from babygun.tls_reports import receivers, sender
from babygun.tls_reports.post import Poster
from babygun.tls_reports.sender import TlsReports, after_failure, begun_try
from babygun.tls_reports.sums import Sums
from tests.support.rig import changed
from tests.support.tls_reports import session, to_domain
from tests.tls_reports.conftest import Asking

DAY = "2026-11-28"
MORNING = datetime(2026, 11, 29, 4, 30, tzinfo=UTC)  # reports of the day before are made
MAIL = "mailto:tls@b.example"


@asynccontextmanager
async def leading(asking: Asking, store: Store | None = None) -> AsyncIterator[TlsReports]:
    """What the worker that leads has."""
    store = store or asking.rig.store
    routes = load_routes(store.settings)
    reports = TlsReports(store, routes)
    try:
        yield reports
    finally:
        await reports.close()


async def count(asking: Asking, domain: str = "a.example", process: str = "x") -> None:
    sums = Sums()
    sums.add(to_domain(domain), session())
    sums.add(to_domain(domain), session(TlsResult(), "no STARTTLS"))
    await write_count(asking.rig.store, DAY, domain, process, sums.count(), 0)


async def reported(asking: Asking, domain: str = "a.example") -> TlsReport:
    found = await find_report(asking.rig.store, DAY, domain)
    assert found is not None
    return found


async def emails(asking: Asking) -> list[Email]:
    store = asking.rig.store
    found = await store.client.range(store.keys.emails, range_end(store.keys.emails))
    return [codec.decode_email(kv.value) for kv in found.kvs]


def fields(caplog: pytest.LogCaptureFixture, event: str, field: str) -> list[Any]:
    """A field of each line of the log with this event."""
    return [each.fields[field] for each in caplog.records if each.message == event]  # type: ignore[attr-defined]


async def test_report_of_all_workers_goes_to_each_place_once(
    asking: Asking, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "babygun")
    asking.ask(asking.url, MAIL)
    await count(asking, process="x")
    await count(asking, process="y")
    sent = TLS_REPORTS["sent"]._value
    async with leading(asking) as reports, leading(asking) as others:
        for each in (reports, reports, others):
            await each.once(MORNING)
    [posted] = asking.posted
    [policy] = posted["policies"]
    assert policy["policy"] == {"policy-type": "no-policy-found", "policy-domain": "a.example"}
    assert policy["summary"]["total-successful-session-count"] == 2
    assert policy["failure-details"][0]["failed-session-count"] == 2
    [email] = await emails(asking)
    assert (email.client_id, email.tags) == ("client", ("tls-report",))
    assert [each.queue for each in email.recipients] == ["mx:b.example"]
    report = await reported(asking)
    assert [place.state for place in report.places] == ["sent", "sent"]
    assert report.places[1].email_id == email.id and posted["report-id"] == report.id
    assert [each async for each in open_reports(asking.rig.store)] == []
    assert [day async for day in counted_days(asking.rig.store, "2027")] == []
    assert TLS_REPORTS["sent"]._value == sent + 2
    assert fields(caplog, "TLS report sent", "uri") == [asking.url, "mailto:…@b.example"]


async def test_nothing_is_made_before_all_workers_have_written(asking: Asking) -> None:
    asking.ask(asking.url)
    await count(asking)
    async with leading(asking) as reports:
        for now in (MORNING - timedelta(days=1), MORNING.replace(hour=0, minute=9)):
            await reports.once(now)
        assert asking.posted == []
        await reports.once(MORNING)
    assert len(asking.posted) == 1


async def test_counts_that_come_after_the_report_are_dropped(asking: Asking) -> None:
    asking.ask(asking.url)
    async with leading(asking) as reports:
        for _ in range(2):
            await count(asking)
            await reports.once(MORNING)
    assert len(asking.posted) == 1
    assert [day async for day in counted_days(asking.rig.store, "2027")] == []


async def test_domain_that_asks_no_more_gets_none_and_one_that_dns_hides_gets_it_later(
    asking: Asking,
) -> None:
    await count(asking)
    asking.host.txt = None  # SERVFAIL
    async with leading(asking) as reports:
        await reports.once(MORNING)
    assert len([day async for day in counted_days(asking.rig.store, "2027")]) == 1
    asking.ask()
    async with leading(asking) as reports:
        await reports.once(MORNING)
    assert [day async for day in counted_days(asking.rig.store, "2027")] == []
    assert await find_report(asking.rig.store, DAY, "a.example") is None


async def test_place_that_refuses_is_tried_again_less_often_and_given_up_after_a_day(
    asking: Asking,
) -> None:
    asking.ask(asking.url)
    asking.status = 503
    await count(asking)
    failed = TLS_REPORTS["failed"]._value
    now = MORNING
    async with leading(asking) as reports:
        while now < MORNING + timedelta(days=2):
            await reports.once(now)
            now += timedelta(minutes=30)
    [place] = (await reported(asking)).places
    assert (place.state, place.reason) == ("failed", "the server answered 503")
    assert len(asking.posted) == place.tries
    assert 8 < place.tries < 14 and len({each["report-id"] for each in asking.posted}) == 1
    assert TLS_REPORTS["failed"]._value == failed + 1


async def test_process_that_dies_between_a_send_and_its_result_makes_no_second_email(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking.ask(MAIL)
    await count(asking)
    real, calls = sender.change, 0

    async def dies(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 2:  # the e-mail is stored, and nobody has written it down
            raise OutcomeUnknown("the process is gone")
        return await real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(sender, "change", dies)
    async with leading(asking) as reports:
        with pytest.raises(OutcomeUnknown):
            await reports.once(MORNING)
        assert [place.state for place in (await reported(asking)).places] == ["waiting"]
        await reports.once(MORNING + timedelta(minutes=1))  # too early
        assert [place.state for place in (await reported(asking)).places] == ["waiting"]
        await reports.once(MORNING + timedelta(hours=1))
    [place] = (await reported(asking)).places
    [email] = await emails(asking)
    assert (place.state, place.tries, place.email_id) == ("sent", 2, email.id)


class _Died(BaseException):  # nothing in the process catches it
    pass


@pytest.mark.parametrize("seed", [1, 2])
async def test_two_workers_that_die_anywhere_make_each_report_once(
    asking: Asking, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    random, deaths, left = Random(seed), 0, 5

    def die() -> None:
        nonlocal deaths, left
        left -= 1
        if deaths < 30 and left <= 0:
            deaths, left = deaths + 1, random.randrange(1, 11)
            raise _Died

    def dying(real: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any) -> Any:
            die()
            result = await real(*arguments)
            die()
            return result

        return call

    for name in ("begin", "change", "store_email"):
        monkeypatch.setattr(sender, name, dying(getattr(sender, name)))
    monkeypatch.setattr(Poster, "post", dying(Poster.post))
    asking.ask(asking.url, MAIL)
    domains = [f"d{number}.example" for number in range(8)]
    for domain in domains:
        await count(asking, domain)
    now, store = MORNING, asking.rig.store
    async with leading(asking) as one, leading(asking) as other:
        while [day async for day in counted_days(store, "2027")] or [
            each async for each in open_reports(store)
        ]:
            results = await asyncio.gather(one.once(now), other.once(now), return_exceptions=True)
            assert all(error is None or isinstance(error, _Died) for error in results), results
            now += timedelta(minutes=20)
    assert deaths > 10 and now < MORNING + timedelta(days=1)
    for domain in domains:
        report = await reported(asking, domain)
        assert [place.state for place in report.places] == ["sent", "sent"]
    subjects = [each.subject for each in await emails(asking)]
    assert sorted(text.split()[2] for text in subjects) == domains
    ids = Counter(each["report-id"] for each in asking.posted)
    assert len(ids) == len(domains), "a report that was sent twice has the same id"


async def test_report_by_mail_waits_for_a_key_that_signs_it(asking: Asking) -> None:
    asking.ask(MAIL)
    await count(asking)
    async with Store(asking.rig.settings) as other, leading(asking, other) as reports:
        await reports.once(MORNING)  # it knows no domain
    [place] = (await reported(asking)).places
    assert place.state == "waiting" and "babygun domains create ours.example" in place.reason
    assert await emails(asking) == []


async def test_host_of_our_own_network_gets_no_post(asking: Asking) -> None:
    asking.ask(asking.url)
    await count(asking)
    settings = replace(asking.rig.settings, allow_networks=())
    async with Store(settings) as store, leading(asking, store) as reports:
        await reports.once(MORNING)
    [place] = (await reported(asking)).places
    assert place.state == "waiting" and "not public" in place.reason
    assert asking.posted == []


async def test_place_without_a_route_or_of_another_version_stops_no_other_report(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking.ask(asking.url, MAIL)
    for domain in ("a.example", "b.example"):
        await count(asking, domain)
    settings = changed(
        asking.rig.settings, default="", routes={"some": {"mx": True, "domains": ["ours.example"]}}
    )
    async with Store(settings) as store:
        await store.domains.read(["ours.example"])
        async with leading(asking, store) as reports:
            await reports.once(MORNING)
    assert len(asking.posted) == 2
    for domain in ("a.example", "b.example"):
        place = (await reported(asking, domain)).places[1]
        assert place.state == "waiting" and "no route" in place.reason
    monkeypatch.setattr(sender, "understood", lambda uri: None)
    async with leading(asking) as reports:
        await reports.once(MORNING + timedelta(hours=25))
    assert [each async for each in open_reports(asking.rig.store)] == []


async def test_lease_that_is_gone_holds_up_no_report_for_long(asking: Asking) -> None:
    asking.ask(asking.url)
    await count(asking)
    async with leading(asking) as reports:
        await reports.once(MORNING)
        await asking.rig.store.client.revoke(reports._leases._lease)
        await count(asking, "b.example")
        with pytest.raises(LeaseNotFound):
            await reports.once(MORNING)
        await reports.once(MORNING)
    assert (await reported(asking, "b.example")).successful


async def test_report_that_crashes_ends_no_worker_and_stops_no_other_one(
    asking: Asking, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asking.ask(asking.url)
    for domain in ("a.example", "b.example"):
        await count(asking, domain)
    real = sender.packed
    monkeypatch.setattr(sender, "packed", lambda report: {"b.example": real(report)}[report.domain])
    async with leading(asking) as reports:
        await reports.once(MORNING)
    assert len(asking.posted) == 1
    assert [each.report.domain async for each in open_reports(asking.rig.store)] == ["a.example"]


async def test_mailbox_that_many_domains_name_gets_some_reports_a_day(
    asking: Asking, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(receivers, "_MOST_TO_MAILBOX", 3)
    asking.ask("mailto:Victim+1@b.example", "mailto:victim+2@b.example")
    for number in range(3):
        await count(asking, f"d{number}.example")
        async with leading(asking) as reports:  # as after a start: etcd knows who got how many
            await reports.once(MORNING)
    assert len(await emails(asking)) == 3
    [sent, refused] = (await reported(asking, "d1.example")).places
    assert (sent.state, refused.state) == ("sent", "failed")
    assert refused.reason == "3 reports of this day go to victim@b.example already"
    in_log = "3 reports of this day go to … already"
    assert set(fields(caplog, "TLS report refused", "error")) == {in_log}
    assert [each async for each in open_reports(asking.rig.store)] == []


async def test_many_reports_are_sent_in_one_round(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking.ask(asking.url)
    monkeypatch.setattr("babygun.store.tls_reports.counts._PAGE", 4)
    monkeypatch.setattr("babygun.store.tls_reports.reports._PAGE", 4)
    for number in range(25):
        await count(asking, f"d{number}.example")
    async with leading(asking) as reports:
        await reports.once(MORNING)
    assert len({each["report-id"] for each in asking.posted}) == len(asking.posted) == 25


def test_waits_between_tries_grow_and_end() -> None:
    place, waits = Place("https://a.example/"), []
    for _ in range(8):
        place = begun_try(place, MORNING)
        assert place.next_at is not None
        waits.append((place.next_at - MORNING) / timedelta(minutes=1))
    assert waits == [5, 10, 20, 40, 80, 160, 240, 240]
    again = after_failure(place, MORNING, "no")
    assert (again.state, again.reason) == ("waiting", "no")
    assert after_failure(place, MORNING - timedelta(days=1), "no").state == "failed"
