"""The calls on sites: what they answer, what they change, what they refuse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from babygun.api.emails import waits
from babygun.api.operations import sites
from babygun.email.tries import RecipientResult
from babygun.routing.providers import Limits, Rate
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store.emails.finish import finish
from babygun.store.records import SiteReport
from babygun.store.sites import holds, known
from babygun.store.sites.reports import write_report
from tests.store.emails.steps import claimed, pending
from tests.support.api import RunningApi, running
from tests.support.dns_servers import failing, scripted, silent, truncating
from tests.support.processes import PATIENCE
from tests.support.rig import Rig, quick


@pytest.fixture
async def resolver() -> AsyncIterator[str]:
    """DNS that fails: each domain is its own site."""
    async with scripted(failing) as address:
        yield address


@pytest.fixture
def api_settings(settings: Settings, resolver: str) -> Settings:
    """Mail to domains goes straight; no worker sends any."""
    return quick(settings, {}, api_port=0, default="mx", resolvers=(resolver,))


@pytest.fixture(autouse=True)
def fresh_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call reads them, and waits for them and for DNS however slow this machine is."""
    monkeypatch.setattr(known, "FRESH", 0.0)
    monkeypatch.setattr(known, "PATIENCE", 20.0)
    monkeypatch.setattr(waits, "PATIENCE", 20.0)
    monkeypatch.setattr(sites, "_LOOKUP_PATIENCE", 20.0)


@pytest.fixture
async def admin(api: RunningApi) -> RunningApi:
    api.token = await api.token_for("admin", "emails:send", "emails:read")
    return api


async def post(api: RunningApi, path: str, **body: Any) -> Any:
    return await api.call("POST", path, json=body)


async def test_sites_of_nothing_are_none(admin: RunningApi) -> None:
    answer = await admin.call("GET", "/sites")
    assert (answer.status, answer.json) == (200, {"sites": []})


async def test_site_is_held_and_resumed_before_its_first_mail(admin: RunningApi) -> None:
    held = await post(admin, "/sites/mx:google/hold", reason="they asked us to", lasts="2h")
    assert held.status == 200, held.text
    assert (held.json["site"], held.json["why"], held.json["waiting"]) == ("mx:google", "held", 0)
    hold = held.json["hold"]
    assert hold["by_operator"] and hold["status_reason"] == "they asked us to"
    assert (hold["reason"], hold["probe_at"]) == ("operator", None)
    assert held.json["limits"] == held.json["table"]
    assert [s["site"] for s in (await admin.call("GET", "/sites")).json["sites"]] == ["mx:google"]
    resumed = await post(admin, "/sites/mx:google/resume")
    assert (resumed.status, resumed.json["hold"], resumed.json["why"]) == (200, None, None)
    (await post(admin, "/sites/mx:google/resume")).problem(404, "not-found")


async def test_site_is_limited_for_a_while_and_has_its_own_limits_again(admin: RunningApi) -> None:
    own = (await admin.call("GET", "/sites/mx:google")).json["table"]
    limited = await post(
        admin, "/sites/mx:google/limits", connections=1, rate="20/min", lasts="1d", reason="new ip"
    )
    assert limited.status == 200, limited.text
    assert limited.json["limits"] == own | {"connections": 1, "rate": "20/min"}
    assert limited.json["table"] == own
    assert limited.json["limited"]["by_operator"]
    assert limited.json["limited"]["status_reason"] == "new ip"
    assert (await admin.metrics()).get("babygun_sites_limited", site="mx:google") == 1
    ended = await admin.call("DELETE", "/sites/mx:google/limits")
    assert (ended.json["limits"], ended.json["limited"]) == (own, None)
    (await admin.call("DELETE", "/sites/mx:google/limits")).problem(404, "not-found")


async def test_bad_input_is_refused_with_what_to_give_instead(admin: RunningApi) -> None:
    for path, body in (
        ("/sites/mx:google/hold", {"lasts": "2h"}),
        ("/sites/mx:google/hold", {"reason": " ", "lasts": "2h"}),
        ("/sites/mx:google/hold", {"reason": "x", "lasts": "0s"}),
        ("/sites/mx:google/hold", {"reason": "x", "lasts": "40d"}),
        ("/sites/mx:google/hold", {"reason": "x", "lasts": "soon"}),
        ("/sites/mx:google/hold", {"reason": "x", "lasts": "2h", "more": 1}),
        ("/sites/NO%20SITE/hold", {"reason": "x", "lasts": "2h"}),
        ("/sites/mx:google/limits", {"lasts": "2h"}),
        ("/sites/mx:google/limits", {"lasts": "2h", "connections": 0}),
        ("/sites/mx:google/limits", {"lasts": "2h", "rate": "fast"}),
    ):
        answer = await post(admin, path, **body)
        assert answer.status == 422, (path, body, answer.text)
        assert answer.json["detail"]
    assert (await admin.call("GET", "/sites")).json["sites"] == []
    (await admin.call("GET", "/sites/nobody")).problem(404, "not-found")


async def test_calls_need_their_scopes(api: RunningApi) -> None:
    reader, sender = await api.token_for("workers:read"), await api.token_for("emails:send")
    assert (await api.call("GET", "/sites", token=reader)).status == 200
    (await api.call("GET", "/sites", token=sender)).problem(403, "insufficient-scope")
    for path in ("hold", "resume", "limits"):
        answer = await api.call("POST", f"/sites/mx:google/{path}", token=reader, json={})
        answer.problem(403, "insufficient-scope")


async def test_reports_of_workers_add_up_and_explain_why_an_email_waits(
    admin: RunningApi, rig: Rig
) -> None:
    store = rig.store
    row = SiteReport(
        site="mx:a.example",
        queues=1,
        waiting=7,
        connections=2,
        limits=Limits(2, 100, Rate(100, 1)),
        sent=5,
        why="limit",
    )
    for worker in ("one", "two"):
        lease = await store.client.grant(30)
        await write_report(store, [row], worker_id=worker, lease_id=lease)
    [site] = (await admin.call("GET", "/sites")).json["sites"]
    assert (site["waiting"], site["connections"], site["sent"]) == (14, 4, 10)
    assert (site["why"], site["limits"]["connections"]) == ("limit", 2)
    email_id = await admin.accepted(to="ann@a.example")
    shown = (await admin.call("GET", f"/emails/{email_id}")).json
    [wait] = shown["waits"]
    assert (wait["queue"], wait["site"], wait["others"]) == ("mx:a.example", "mx:a.example", 14)
    assert (wait["why"], wait["until"]) == ("limited", None)
    assert "14 jobs of this site wait" in wait["explanation"]
    await post(admin, "/sites/mx:a.example/hold", reason="pause", lasts="1h")
    [wait] = (await admin.call("GET", f"/emails/{email_id}")).json["waits"]
    assert wait["why"] == "held" and wait["until"]
    assert "is held by an operator until" in wait["explanation"], "clients don't see which one"
    assert "pause" in wait["explanation"]
    listed = (await admin.call("GET", "/emails")).json["emails"][0]
    assert listed["held"][0]["site"] == "mx:a.example"


async def test_name_of_a_domain_or_of_no_relay_is_refused_with_the_site_to_give(
    settings: Settings, rig: Rig
) -> None:
    async with scripted(truncating("60 IN MX 5 mx.a.example.")) as resolver:
        settings = quick(settings, {}, api_port=0, default="mx", resolvers=(resolver,))
        async with running(settings, rig.store) as api:
            api.token = await api.token_for("admin")
            for path, fields in (
                ("hold", {"reason": "pause", "lasts": "1h"}),
                ("limits", {"rate": "1/s", "lasts": "1h"}),
            ):
                refused = await post(api, f"/sites/mx:b.example/{path}", **fields)
                assert refused.status == 422
                assert "to b.example goes to the site mx:mx.a.example" in refused.json["detail"]
                unknown = await post(api, f"/sites/mian/{path}", **fields)
                assert unknown.status == 422 and "no relay called mian" in unknown.json["detail"]
                wrong = await post(api, f"/sites/mx:{70 * 'a'}.example/{path}", **fields)
                assert wrong.status == 422, wrong.text
            assert (await api.call("GET", "/sites")).json["sites"] == []


async def test_email_that_is_due_after_the_end_of_a_hold_waits_for_its_own_time(
    admin: RunningApi,
) -> None:
    await post(admin, "/sites/mx:a.example/hold", reason="pause", lasts="1h")
    at = (utc_now() + timedelta(hours=2)).isoformat()
    email_id = await admin.accepted(to="ann@a.example", send_at=at)
    [wait] = (await admin.call("GET", f"/emails/{email_id}")).json["waits"]
    assert (wait["why"], wait["until"][:16]) == ("scheduled", at[:16])


async def test_hold_of_one_sender_domain_is_no_held_site_of_the_overview(
    admin: RunningApi, rig: Rig
) -> None:
    reply = RecipientResult("hold", "authentication", 421, "4.7.26", "unauthenticated")
    for sender in ("bad.example", ""):
        await holds.begin(rig.store, "mx:google", reply, worker_id="one", sender=sender)
    async with asyncio.timeout(PATIENCE):
        while not (  # noqa: ASYNC110 (another process's state)
            held := (await admin.call("GET", "/overview")).json["held"]
        ):
            await asyncio.sleep(0.01)
    assert [each["site"] for each in held] == ["mx:google"]
    [site] = (await admin.call("GET", "/sites")).json["sites"]
    assert [each["sender"] for each in site["held_senders"]] == ["bad.example"]


async def test_relay_without_limits_can_be_held_but_not_limited(
    settings: Settings, rig: Rig
) -> None:
    settings = quick(settings, {"main": {"url": "smtp://127.0.0.1:1"}}, api_port=0)
    async with running(settings, rig.store) as api:
        api.token = await api.token_for("admin")
        refused = await post(api, "/sites/main/limits", connections=1, lasts="1h")
        assert refused.status == 422 and "in the settings, or hold it" in refused.json["detail"]
        assert (await post(api, "/sites/main/hold", reason="pause", lasts="1h")).status == 200


async def test_hold_of_a_sender_is_explained_with_its_end(admin: RunningApi, rig: Rig) -> None:
    email_id = await admin.accepted(to="ann@a.example", sender="me@news.example.com")
    reply = RecipientResult("hold", "authentication", 421, "4.7.26", "no SPF")
    await admin.call("GET", f"/emails/{email_id}")  # looks the site up
    await holds.begin(
        rig.store,
        "mx:a.example",
        reply,
        sender="news.example.com",
        worker_id="one",
        first_probe=900.0,
    )
    await post(admin, "/sites/mx:b.example/hold", reason="x", lasts="1h")  # reads all holds at once
    [wait] = (await admin.call("GET", f"/emails/{email_id}")).json["waits"]
    assert wait["explanation"].startswith(
        "mail of news.example.com to mx:a.example is held until 2"
    )
    assert wait["reply"]["enhanced_code"] == "4.7.26" and wait["until"]
    [shown] = (await admin.call("GET", "/emails")).json["emails"]
    [held] = shown["held"]
    assert (held["site"], held["sender"]) == ("mx:a.example", "news.example.com")
    other = await admin.accepted(to="ann@a.example", sender="me@example.com")
    assert (await admin.call("GET", f"/emails/{other}")).json["held"] == []


async def test_email_is_shown_at_once_while_dns_says_nothing(
    settings: Settings, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "PATIENCE", 0.01)
    async with scripted(silent) as resolver:
        settings = quick(settings, {}, api_port=0, default="mx", resolvers=(resolver,))
        async with running(settings, rig.store) as api:
            api.token = await api.token_for("emails:send", "emails:read")
            email_id = await api.accepted(to="ann@a.example")
            [wait] = (await api.call("GET", f"/emails/{email_id}")).json["waits"]
            assert (wait["site"], wait["why"]) == (None, "ready")
            assert "not known here yet" in wait["explanation"]


async def test_hold_is_shown_while_dns_says_nothing_if_a_try_has_found_the_site(
    settings: Settings, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "PATIENCE", 0.01)
    async with scripted(silent) as resolver:
        settings = quick(settings, {}, api_port=0, default="mx", resolvers=(resolver,))
        async with running(settings, rig.store) as api:
            api.token = await api.token_for("admin")
            email_id = await api.accepted(to="ann@a.example")
            got = await claimed(rig, email_id, queue="mx:a.example")
            tried = pending(got, RecipientResult("retry", "temporary", 451))
            found = replace(tried.result, site="mx:google")
            await finish(rig.store, [replace(tried, result=found)])
            await post(api, "/sites/mx:google/hold", reason="pause", lasts="9d")
            shown = (await api.call("GET", f"/emails/{email_id}")).json
            [wait] = shown["waits"]
            assert (wait["site"], wait["why"]) == ("mx:google", "held")
            assert shown["held"][0]["site"] == "mx:google"
