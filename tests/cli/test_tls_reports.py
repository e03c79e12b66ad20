"""``babygun tls-reports``, against a real API."""

from __future__ import annotations

import json
from datetime import timedelta

from msgspec.structs import replace

from babygun.store.tls_reports.records import Place, TlsReport
from babygun.store.tls_reports.reports import begin
from babygun.tls_reports.report import document
from tests.support.commands import Command
from tests.support.rig import Rig
from tests.support.tls_reports import REPORT


async def kept(rig: Rig, day: str, domain: str, **fields: object) -> TlsReport:
    report = replace(REPORT, day=day, domain=domain, **fields)  # type: ignore[arg-type]
    assert await begin(rig.store, report, 0)
    return report


async def test_reports_are_listed_newest_day_first_and_one_is_shown_as_it_was_sent(
    rig: Rig, with_api: Command
) -> None:
    none = await with_api("tls-reports", "list")
    assert (none.status, none.out.partition(" (")[0]) == (0, "no TLS report")
    old = await kept(rig, "2026-11-27", "b.example")
    sent = Place("mailto:tls@a.example", "sent", 1, sent_at=old.made_at, email_id="x")
    await kept(rig, "2026-11-28", "a.example", places=(sent,))
    waits = Place("https://a.example/", tries=3, reason="the server answered 503")
    waits = replace(waits, next_at=old.made_at + timedelta(hours=1))
    await kept(rig, "2026-11-28", "b.example", places=(waits,))
    head, *rows = (await with_api("tls-reports", "list")).out.splitlines()
    assert head.split() == ["DAY", "DOMAIN", "SUCCESSFUL", "FAILED", "STATE", "SENT", "TO"]
    assert [row.split(None, 5) for row in rows] == [
        ["2026-11-28", "a.example", "5326", "100", "sent", "mailto:tls@a.example"],
        [
            *("2026-11-28", "b.example", "5326", "100", "waiting"),
            "https://a.example/ (the server answered 503)",
        ],
        ["2026-11-27", "b.example", "5326", "100", "waiting", "mailto:tls@a.example"],
    ]
    given = ("--domain", "B.example", "--limit", "1", "--json")
    page = json.loads((await with_api("tls-reports", "list", *given)).out)
    assert [report["day"] for report in page["reports"]] == ["2026-11-28"] and page["cursor"]
    shown = await with_api("tls-reports", "show", "2026-11-27", "b.example")
    assert json.loads(shown.out) == document(old)
    missing = await with_api("tls-reports", "show", "2026-11-27", "c.example")
    assert missing.status == 1 and "no TLS report of this day and domain" in missing.error
