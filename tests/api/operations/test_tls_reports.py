"""The calls on TLS reports: pages, filters, one report, and who may read them."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from babygun.store import Store
from babygun.store.tls_reports.records import Place
from babygun.store.tls_reports.reports import begin
from babygun.tls_reports.report import document
from tests.support.api import RunningApi
from tests.support.tls_reports import REPORT


async def test_reports_are_listed_in_pages_and_one_is_read_with_what_it_says(
    api: RunningApi, store: Store
) -> None:
    api.token = await api.token_for("workers:read")
    assert (await api.call("GET", "/tls-reports")).json == {"reports": [], "cursor": None}
    sent = Place("https://a.example/", "sent", 2, sent_at=REPORT.made_at)
    idn = replace(REPORT, domain="xn--bcher-kva.example", places=(sent,))
    for report in (REPORT, idn):
        assert await begin(store, report, 0)
    first = (await api.call("GET", "/tls-reports?limit=1")).json
    assert [each["domain"] for each in first["reports"]] == ["a.example"]
    second = (await api.call("GET", f"/tls-reports?limit=1&cursor={first['cursor']}")).json
    assert second["cursor"] is None
    [found] = second["reports"]
    assert (found["successful"], found["failed"]) == (5326, 100)
    assert found["places"] == [
        {
            "uri": "https://a.example/",
            "state": "sent",
            "tries": 2,
            "next_at": None,
            "sent_at": msgspec.to_builtins(REPORT.made_at),
            "email_id": None,
            "reason": None,
        }
    ]
    only = (await api.call("GET", f"/tls-reports?day={REPORT.day}&domain=Bücher.example")).json
    assert only["reports"] == [found]
    one = (await api.call("GET", f"/tls-reports/{REPORT.day}/bücher.example")).json
    assert one == {"summary": found, "report": document(idn)}


async def test_report_that_is_not_there_and_words_that_are_none_are_refused(
    api: RunningApi,
) -> None:
    for query in ("/tls-reports", f"/tls-reports/{REPORT.day}/a.example"):
        (await api.call("GET", query)).problem(403, "insufficient-scope")
    api.token = await api.token_for("workers:read")
    for name in (f"{REPORT.day}/a.example", "x/a.example", f"{REPORT.day}/a..b"):
        (await api.call("GET", f"/tls-reports/{name}")).problem(404, "not-found")
    for query, field in (("day=x", "day"), ("cursor=x", "cursor"), ("limit=0", "limit")):
        answer = await api.call("GET", f"/tls-reports?{query}")
        answer.problem(422, "invalid-request", field)
