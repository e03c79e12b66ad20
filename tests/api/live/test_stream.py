"""GET /events: what is heard, and by whom."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from babygun.api.live import hub, overview, stream
from babygun.etcd.versions import PROGRESS, has
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.access.clients import delete_client
from babygun.store.emails.claims import release
from tests.api.live.conftest import AT_REST, fallen_to, watchers
from tests.api.live.listening import Stream, enters, listening
from tests.support.api import RunningApi, StartApi, running, until_ready
from tests.support.etcd_server import EtcdServer, etcd_version
from tests.support.guarded_etcd import as_user, guarded_etcd
from tests.support.processes import PATIENCE
from tests.support.rig import Rig, rig_for, wide_relays
from tests.support.tries import OK, claimed, finished

# --- what is heard ---


async def test_email_is_streamed_from_its_acceptance_to_its_end_as_the_listing_shows_it(
    api: RunningApi, sending: Rig
) -> None:
    async with listening(api) as heard, sending.worker():
        email_id = await api.accepted()
        last = await heard.email(
            email_id, lambda email: email["status"] == "complete" and not email["sending"]
        )
        await heard.silent()
        await check_listed(api, last)
        assert heard.retry == 1000
        assert {event for event, _ in heard.told()} == {"email"}


async def test_wide_email_is_streamed_in_numbers_as_the_listing_shows_it(
    start_api: StartApi, store: Store
) -> None:
    api = await start_api(relays=wide_relays(20))
    async with listening(api) as heard:
        addresses = [f"ann@d{number}.example" for number in range(20)]
        email_id = await api.accepted(to=addresses)
        begun = await heard.email(email_id)
        assert begun["recipients"] == [] and begun["many"]["by_status"] == {"pending": 20}
        await claimed(store, email_id, "q3")
        await heard.email(email_id, lambda email: email["sending"] == ["q3"])
        await finished(store, email_id, {addresses[0]: OK}, "q0")
        last = await heard.email(
            email_id,
            lambda email: (
                email["many"]["by_status"] == {"delivered": 1, "pending": 19}
                and email["sending"] == ["q3"]
            ),
        )
        await heard.silent()
        await check_listed(api, last)


async def check_listed(api: RunningApi, last: dict[str, Any]) -> None:
    """The listing shows the same as the last event; at a revision that may be later."""
    listed = (await api.call("GET", "/emails")).json["emails"][0]
    assert listed["revision"] >= last["revision"] > 0
    assert listed | {"revision": last["revision"]} == last


async def test_claim_and_its_end_show_in_sending(api: RunningApi, store: Store) -> None:
    async with listening(api) as heard:
        email_id = await api.accepted()
        assert (await heard.email(email_id))["sending"] == []
        owner = await claimed(store, email_id, "main")
        await heard.email(email_id, lambda email: email["sending"] == ["main"])
        await release(store, owner.ref, owner.owner_revision)
        await heard.email(email_id, lambda email: email["sending"] == [])


async def test_what_is_being_sent_when_the_hub_starts_is_known(
    api: RunningApi, store: Store
) -> None:
    email_id = await api.accepted()
    await claimed(store, email_id, "main")
    async with listening(api) as heard:
        await api.call("POST", f"/emails/{await api.accepted()}/cancel")
        await api.call("POST", f"/emails/{email_id}/cancel")  # refused: it is being sent
        view = await store.client.get(store.keys.email(email_id))
        assert view is not None
        await store.client.put(store.keys.email(email_id), view.value)
        assert (await heard.email(email_id))["sending"] == ["main"]


async def test_deferral_cancel_and_retry_are_streamed(api: RunningApi, sending: Rig) -> None:
    async with listening(api) as heard, sending.worker(retry_intervals=(60.0,)):
        email_id = await api.accepted(to="soft@example.org")
        waiting = await heard.email(
            email_id, lambda email: email["not_before"] and not email["sending"]
        )
        assert waiting["recipients"][0]["status"] == "deferred"
        await api.call("POST", f"/emails/{email_id}/cancel")
        await heard.email(email_id, lambda email: email["status"] == "cancelled")
        await api.call("POST", f"/emails/{email_id}/retry")
        await heard.email(email_id, lambda email: email["status"] == "incomplete")


async def test_changes_within_a_moment_become_one_event(api: RunningApi, store: Store) -> None:
    email_id = await api.accepted(send_at=(utc_now() + timedelta(hours=1)).isoformat())
    kv = await store.client.get(store.keys.email(email_id))
    assert kv is not None
    async with listening(api) as heard:
        await api.accepted()
        await heard.heard()
        started = time.monotonic()
        for number in range(50):
            await store.client.put(
                store.keys.email(email_id), kv.value.replace(b'"Hello"', b'"Hello %d"' % number)
            )
        await heard.email(email_id, lambda email: email["subject"] == "Hello 49")
        took = time.monotonic() - started
        # One for each interval that has begun, and those of the two e-mails before.
        assert len(heard.told("email")) <= took / hub.COALESCE + 3


async def test_removed_email_is_gone_for_its_owner_and_for_nobody_else(
    api: RunningApi, store: Store
) -> None:
    other, admin = await api.token_for("emails:read"), await api.token_for("admin")
    email_id = await api.accepted()
    async with (
        listening(api) as mine,
        listening(api, token=other) as others,
        listening(api, token=admin) as all_of_them,
    ):
        await store.client.delete(store.keys.email(email_id))
        for heard in (mine, all_of_them):
            event = await heard.until(lambda heard: heard.event != "overview")
            assert (event.event, event.data) == ("gone", {"id": email_id})
        await others.silent()


async def test_client_gets_events_of_its_own_emails_and_an_admin_of_all(api: RunningApi) -> None:
    other, admin = await api.token_for("emails:send", "emails:read"), await api.token_for("admin")
    async with (
        listening(api) as mine,
        listening(api, token=other) as others,
        listening(api, token=admin) as all_of_them,
    ):
        ids = [await api.accepted(), await api.accepted(other)]
        assert (await mine.heard()).data["id"] == ids[0]
        assert (await others.heard()).data["id"] == ids[1]
        for email_id in ids:
            await all_of_them.email(email_id)
        await mine.silent()
        await others.silent()


async def test_listener_to_one_email_gets_its_events_alone(api: RunningApi) -> None:
    email_id, other = await api.accepted(), await api.accepted()
    admin = await api.token_for("admin")
    async with (
        listening(api, f"?id={email_id}") as heard,
        listening(api, f"?id={email_id}", token=admin) as by_admin,
    ):
        await api.call("POST", f"/emails/{other}/cancel")
        await api.call("POST", f"/emails/{email_id}/cancel")
        assert (await heard.heard()).data["id"] == email_id
        assert (await by_admin.heard()).data["id"] == email_id, "and no overview"
        await heard.silent()


async def test_overview_comes_again_and_again_to_those_who_may_see_it(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "INTERVAL", 0.4)
    token = await api.token_for("emails:read", "workers:read")
    for query in ("", "?only=overview"):
        began = time.monotonic()
        async with listening(api, query, token=token) as heard:
            found = [(await heard.heard()).data for _ in range(4)]
            # The first one may have been begun before.
            assert time.monotonic() - began > 0.7
            assert set(found[0]) == {
                "at",
                "rates",
                "queues",
                "held",
                "in_flight",
                "workers",
                "apis",
                "etcd",
                "problem",
                "domain_alarms",
            }
            assert {event for event, _ in heard.told()} == {"overview"}
    async with listening(api) as mine:
        with pytest.raises(TimeoutError):
            await mine.heard(0.8)


# --- who may, and how many ---


async def test_bad_requests_are_refused_with_what_is_wrong(api: RunningApi) -> None:
    (await api.call("GET", "/events", token="")).problem(401, "no-token")
    (await api.call("GET", "/events", token=await api.token_for("emails:send"))).problem(
        403, "insufficient-scope"
    )
    (await api.call("GET", "/events?only=overview")).problem(403, "insufficient-scope")
    (await api.call("GET", "/events?only=x")).problem(422, "invalid-request", "only")
    (await api.call("GET", "/events?nonsense=1")).problem(422, "invalid-request", "nonsense")
    (await api.call("GET", "/events?id=nonsense")).problem(404, "not-found")
    theirs = await api.accepted(await api.token_for())
    (await api.call("GET", f"/events?id={theirs}")).problem(404, "not-found")
    admin = await api.token_for("admin")
    (await api.call("GET", f"/events?id={theirs}&only=overview", token=admin)).problem(
        422, "invalid-request", "only"
    )
    head = await api.call("HEAD", "/events")
    assert head.status == 200 and head.headers["Content-Type"] == "text/event-stream"


async def test_too_many_listeners_are_refused_and_places_come_free_again(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MOST_LISTENERS", 4)
    admin = await api.token_for("admin")
    async with listening(api) as one, listening(api):
        (await api.call("GET", "/events")).problem(503, "too-many-listeners")  # half of the places
        async with listening(api, token=admin), listening(api, token=admin):
            refused = await api.call("GET", "/events", token=await api.token_for())
            refused.problem(503, "too-many-listeners")
            assert refused.headers["Retry-After"] == "5"
        one.response.close()
        async with asyncio.timeout(PATIENCE):
            while (await api.call("HEAD", "/events")).status != 200 or not await enters(api):  # noqa: ASYNC110 (another process's state)
                await asyncio.sleep(0.05)


async def test_stream_ends_with_its_token(api: RunningApi, store: Store) -> None:
    client, secret = await api.client("emails:read")
    short = {"client_id": client.id, "client_secret": secret, "expires_in": 6}
    heard_to_its_end, token = False, ""
    while not heard_to_its_end:  # unless this machine stood still until then
        token = (await api.call("POST", "/tokens", token="", json=short)).json["token"]
        try:
            async with listening(api, token=token) as heard:
                await heard.ended()
                heard_to_its_end = True
        except AssertionError as refused:
            assert "expired" in str(refused)
    (await api.call("GET", "/events", token=token)).problem(401, "invalid-token")
    revoked, deleted = [
        (
            await api.call(
                "POST", "/tokens", token="", json={"client_id": client.id, "client_secret": secret}
            )
        ).json["token"]
        for _ in range(2)
    ]
    async with listening(api, token=revoked) as heard, listening(api, token=deleted) as other:
        assert (await api.call("DELETE", "/tokens", token=revoked)).status == 204
        await heard.ended()
        await delete_client(store, client.id)
        await other.ended()


async def test_stream_ends_at_once_when_the_process_stops(start_api: StartApi) -> None:
    api = await start_api(drain_timeout=600.0)
    async with (
        listening(api) as heard,
        listening(api, "?only=overview", token=await api.token_for("admin")) as only,
    ):
        api.stop.set()
        await asyncio.gather(heard.ended(), only.ended())


async def test_cookie_opens_the_stream_too(api: RunningApi) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(
            f"{api.url}/events", headers={"Cookie": f"babygun_session={api.token}"}
        ) as response,
    ):
        assert response.status == 200
        heard = Stream(response)
        email_id = await api.accepted()
        await heard.email(email_id)


# --- the hub ---


async def test_etcd_is_watched_only_while_somebody_listens(
    alone: tuple[RunningApi, Store, EtcdServer],
) -> None:
    api, _, etcd = alone
    admin = await api.token_for("admin")
    async with listening(api, "?only=overview", token=admin):
        assert await watchers(etcd) == AT_REST
    async with listening(api):
        async with listening(api), listening(api, token=admin):
            await fallen_to(etcd, AT_REST + 2)
        await asyncio.sleep(0.5)
        assert await watchers(etcd) == AT_REST + 2
    await fallen_to(etcd, AT_REST)


async def test_live_stream_and_overview_need_no_more_rights_in_etcd_than_an_api_has(
    api_settings: Settings,
) -> None:
    async with guarded_etcd(api_settings) as guarded:
        mine = as_user(guarded, "babygun-api")
        async with (
            Store(as_user(guarded, "root")) as store,
            running(mine, store) as api,
            running(mine, store) as other,
            rig_for(as_user(guarded, "babygun-worker")) as rig,
        ):
            await until_ready(api)
            await until_ready(other)
            api.token = await api.token_for("admin")
            async with rig.worker(), listening(api) as heard:
                email_id = await api.accepted()
                await heard.email(email_id, lambda email: email["status"] == "complete")
                await heard.until(
                    lambda event: (
                        event.event == "overview"
                        and len(event.data["apis"]) == 2
                        and len(event.data["workers"]) == 1
                    )
                )
                await store.client.delete(store.keys.email(email_id))
                assert (await heard.until(lambda event: event.event == "gone")).data == {
                    "id": email_id
                }
            async with listening(
                other, token=api.token, last_id=next(event.id for event in heard.events if event.id)
            ) as again:
                first = await again.until(lambda event: event.event != "overview")
                assert (first.event == "reset") != has(etcd_version(), PROGRESS)
