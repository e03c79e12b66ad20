"""Exports: complete, in order, harmless, and taken back as they are."""

from __future__ import annotations

import asyncio
import csv
import json
from io import StringIO

import aiohttp
import pytest

from tests.api.suppressions.calls import imported, listed, put
from tests.support.api import RunningApi
from tests.support.proxy import Proxy


async def exported(api: RunningApi, **params: str) -> str:
    answer = await api.call("GET", "/suppressions/export", params=params)
    assert answer.status == 200, answer.text
    return answer.text


async def test_export_is_imported_as_it_is(api: RunningApi) -> None:
    for email in ("+ann@example.org", "=cmd@example.org", "'x@example.org", "zoe@bücher.example"):
        assert (await put(api, email, reason="complaint", list="news")).status == 201
    await put(api, "bob@example.org", reason="hard_bounce")
    before = (await api.call("GET", "/suppressions")).json["suppressions"]
    for form, media_type in (("csv", "text/csv"), ("ndjson", "application/x-ndjson")):
        file = await exported(api, format=form)
        for one in before:
            path = "/suppressions/" + one["email"].replace("/", "%2F")
            assert (await api.call("DELETE", path)).status == 200
        assert await listed(api) == []
        assert (await imported(api, file, media_type=media_type)).json["added"] == len(before)
        after = (await api.call("GET", "/suppressions")).json["suppressions"]
        assert after == before


async def test_no_cell_of_an_export_begins_as_a_formula_does(api: RunningApi) -> None:
    file = json.dumps(
        {"email": "=x@example.org", "reply": "=HYPERLINK(0)\r\nnext", "status_code": 550}
    )
    await imported(api, file, media_type="application/x-ndjson")
    head, row = csv.reader(StringIO(await exported(api)))
    assert head[0] == "email"
    assert row[0] == "'=x@example.org" and row[-1] == "'=HYPERLINK(0) next"
    assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t"))]


async def test_export_has_what_the_filters_want(api: RunningApi) -> None:
    await put(api, "ann@example.org", list="news", reason="unsubscribe")
    await put(api, "bob@example.org")
    for params, emails in (
        ({}, ["bob@example.org", "ann@example.org"]),
        ({"list": "news"}, ["ann@example.org"]),
        ({"reason": "manual"}, ["bob@example.org"]),
        ({"prefix": "zoe"}, []),
    ):
        lines = (await exported(api, format="ndjson", **params)).splitlines()
        assert [json.loads(line)["email"] for line in lines] == emails
    head = await api.call("HEAD", "/suppressions/export")
    assert head.headers["Content-Type"].startswith("text/csv") and head.text == ""
    assert "attachment" in head.headers["Content-Disposition"]
    (await api.call("GET", "/suppressions/export", params={"format": "xls"})).problem(
        422, "invalid-request", "format"
    )


async def test_export_misses_nothing_while_others_are_added_and_taken_off(
    api: RunningApi,
) -> None:
    stays = [f"stays{number:05}@example.org" for number in range(0, 6000, 2)]
    assert (await imported(api, "\n".join(stays))).json["added"] == 3000

    async def change() -> None:
        for number in range(1, 100, 2):
            email = f"stays{number * 57:05}@example.org"
            await put(api, email)
            await api.call("DELETE", f"/suppressions/{email}")

    changing = asyncio.create_task(change())
    emails = [
        json.loads(line)["email"] for line in (await exported(api, format="ndjson")).splitlines()
    ]
    await changing
    assert emails == sorted(set(emails))
    assert set(stays) <= set(emails)


async def test_export_that_etcd_ends_early_is_no_whole_answer(
    far: RunningApi, proxy: Proxy
) -> None:
    far.token = await far.token_for("suppressions")
    rows = "\n".join(f"user{number:05}@example.org" for number in range(6000))
    assert (await imported(far, rows)).status == 200
    proxy.cut_after(400_000)
    reading = asyncio.create_task(far.call("GET", "/suppressions/export"))
    await proxy.was_cut()
    proxy.cut()
    with pytest.raises(aiohttp.ClientPayloadError):
        await reading
    (await far.call("GET", "/suppressions/export")).problem(503, "etcd-unavailable")
