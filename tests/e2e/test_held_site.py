"""A held site from outside: the API, the probes, the metrics and the doctor show it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from msgspec.structs import replace

from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store.cluster import findings
from babygun.store.emails.acceptance import accept
from babygun.store.emails.new_email import prepare
from babygun.store.sites import holds as store_holds
from babygun.worker.sites import reports
from tests.support.api import running
from tests.support.processes import PATIENCE
from tests.support.rig import quick, rig_for
from tests.support.smtp_server import MisbehavingServer
from tests.worker.sites.test_holds import has_its_turn, held


async def test_held_site_shows_everywhere_with_the_servers_words_and_then_delivers(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_holds, "PROBE_WAITS", (3600.0,))  # a probe would be "sending"
    monkeypatch.setattr(reports, "EVERY", 0.2)
    async with MisbehavingServer(credentials=("me", "secret")) as server:
        relays = {"main": {"url": server.url}}
        server.credentials = ("me", "another")
        settings = quick(settings, relays, api_port=0)
        async with rig_for(settings) as rig, running(settings, rig.store) as api, rig.worker():
            api.token = await api.token_for("admin", "emails:send", "workers:read")
            email_id = await api.accepted()
            await rig.logged(email_id, "held")
            async with asyncio.timeout(PATIENCE):
                while not (  # noqa: ASYNC110 (another process's state)
                    shown := (await api.call("GET", f"/emails/{email_id}")).json
                )["held"]:
                    await asyncio.sleep(0.01)
            hold = shown["held"][0]
            assert (shown["status"], shown["tries"], hold["site"]) == ("incomplete", 0, "main")
            assert (hold["reason"], hold["status_code"]) == ("authentication", 535)
            assert "invalid" in hold["status_reason"] and hold["since"]
            listed = (await api.call("GET", "/emails")).json["emails"][0]
            assert listed["held"][0]["since"] == hold["since"]
            overview = (await api.call("GET", "/overview")).json
            assert overview["held"][0]["since"] == hold["since"]
            ready = await api.call("GET", "/readyz")
            assert ready.status == 200
            found = await findings.of_holds(rig.store)
            assert "main is held since" in found[0].sentence and "535" in found[0].sentence
            assert (await api.metrics()).get("babygun_sites_held", site="main") == 1
            [wait] = shown["waits"]
            assert (wait["queue"], wait["site"], wait["why"]) == ("main", "main", "held")
            assert wait["until"] and wait["reply"]["status_code"] == 535
            assert "until one e-mail gets through" in wait["explanation"]
            async with asyncio.timeout(PATIENCE):  # until the worker has reported it
                while not (  # noqa: ASYNC110 (another process's state)
                    sites := [
                        each
                        for each in (await api.call("GET", "/sites")).json["sites"]
                        if each["waiting"]
                    ]
                ):
                    await asyncio.sleep(0.05)
            [site] = sites
            assert (site["site"], site["why"], site["waiting"]) == ("main", "held", 1)
            assert site["hold"]["since"] == hold["since"] and not site["hold"]["by_operator"]
            etag = (await api.call("GET", f"/emails/{email_id}")).headers["ETag"]
            server.credentials = ("me", "secret")
            await has_its_turn(rig, await held(rig, "main"))
            await rig.ended(email_id)
            shown = await api.call("GET", f"/emails/{email_id}")
            assert (shown.json["status"], shown.json["held"]) == ("complete", [])
            assert shown.headers["ETag"] != etag
            assert len(server.messages) == 1


async def test_bulk_cancel_and_retry_work_while_the_site_is_held(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_holds, "PROBE_WAITS", (0.2,))
    async with MisbehavingServer(credentials=("me", "secret")) as server:
        relays = {"main": {"url": server.url}}
        server.credentials = ("me", "another")
        settings = quick(settings, relays, api_port=0)
        async with rig_for(settings) as rig, running(settings, rig.store) as api, rig.worker():
            api.token = await api.token_for("admin", "emails:send")
            ids = [await rig.send(f"user{n}@example.org") for n in range(5)]
            await rig.logged(ids[0], "held")

            async def bulk(verb: str) -> set[str]:
                answer = await api.call("POST", f"/emails/{verb}", json={"ids": ids})
                return {result["email_status"] for result in answer.json["results"]}

            async with asyncio.timeout(PATIENCE):  # one may be a probe at this moment
                while await bulk("cancel") != {"cancelled"}:  # noqa: ASYNC110 (etcd's state)
                    await asyncio.sleep(0.01)
            assert await bulk("retry") == {"incomplete"}
            server.credentials = ("me", "secret")
            emails = await rig.ended(*ids)
            assert {email.status for email in emails} == {"complete"}


async def test_email_whose_end_comes_while_it_waits_is_expired_without_a_try(
    settings: Settings,
) -> None:
    async with MisbehavingServer() as server:
        settings = quick(settings, {"main": {"url": server.url}}, api_port=0)
        async with rig_for(settings) as rig, running(settings, rig.store) as api:
            api.token = await api.token_for("admin", "emails:send")
            refused = await api.send(expires_at="2020-01-01T00:00:00Z")
            problem = refused.problem(422, "invalid-request", "expires_at")
            assert "later than now" in problem["detail"]
            end = (utc_now() + timedelta(hours=1)).isoformat()
            early = await api.send(expires_at=end, send_at=end)
            assert "later than" in early.text
            sent = await api.accepted(expires_at="2030-01-01T01:00:00+01:00")
            shown = (await api.call("GET", f"/emails/{sent}")).json
            assert shown["expires_at"] == "2030-01-01T00:00:00Z"
            email, content = rig.email("bob@example.org")
            email_id = email.id
            await accept(
                rig.store,
                "client",
                prepare(rig.store, replace(email, expires_at=utc_now()), content),
            )
            async with rig.worker():
                email = (await rig.ended(email_id))[0]
            assert (email.status, email.recipients[0].status) == ("failed", "expired")
            assert email.recipients[0].tries == 0 and not server.to("bob@example.org")
