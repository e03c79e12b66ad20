"""``babygun tls-reports``, against a real API."""

from __future__ import annotations

import json

from msgspec.structs import replace

from babygun.store.tls_reports.records import Place
from babygun.store.tls_reports.reports import begin
from babygun.tls_reports.report import document
from tests.support.commands import Command
from tests.support.rig import Rig
from tests.support.tls_reports import REPORT


async def test_reports_are_listed_newest_day_first_and_one_is_shown_as_it_was_sent(
    rig: Rig, with_api: Command
) -> None:
    sent = Place("mailto:tls@a.example", "sent", 1, sent_at=REPORT.made_at, email_id="x")
    waits = Place("https://b.example/", tries=3, reason="the server answered 503")
    old = replace(REPORT, day="2026-11-27", domain="b.example", places=(waits,))
    for report in (old, replace(REPORT, places=(sent,))):
        assert await begin(rig.store, report, 0)
    head, *rows = (await with_api("tls-reports", "list")).out.splitlines()
    assert head.split() == ["DAY", "DOMAIN", "SUCCESSFUL", "FAILED", "STATE", "SENT", "TO"]
    assert [row.split(None, 5) for row in rows] == [
        [REPORT.day, "a.example", "5326", "100", "sent", "mailto:tls@a.example"],
        [
            *("2026-11-27", "b.example", "5326", "100", "waiting"),
            "https://b.example/ (the server answered 503)",
        ],
    ]
    none = await with_api("tls-reports", "list", "--domain", "c.example")
    assert (none.status, none.out.partition(" (")[0]) == (0, "no TLS report")
    shown = await with_api("tls-reports", "show", "2026-11-27", "b.example")
    assert json.loads(shown.out) == document(old)
