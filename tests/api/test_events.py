"""GET /events: what is heard, by whom, in which order, and where a stream that broke off goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from babygun.api.live import hub, listener, mirror, stream
from babygun.clock import utc_now
from babygun.settings import Settings
from babygun.store import Store
from babygun.store.clients import delete_client
from babygun.store.transitions import release
from tests.api.conftest import RunningApi, StartApi, running, until_ready
from tests.api.listening import Stream, listening
from tests.api.proxy import proxy_to
from tests.api.test_emails import claimed
from tests.etcd.test_client import compact
from tests.etcd_server import EtcdServer
from tests.rig import Rig, environment, rig_for
from tests.scraping import Scraped
from tests.smtp_server import MisbehavingServer


@pytest.fixture
def api_settings(settings: Settings, smtp: MisbehavingServer) -> Settings:
    relays = {"main": {"url": smtp.url}}
    return replace(
        settings, api_host="127.0.0.1", api_port=0, relays=relays, etcd_timeout=2.0, drain_timeout=5.0, lease_ttl=2.0, retry_intervals=(0.5,), smtp_hostname="babygun.test"
    )


@pytest.fixture
async def sending(api_settings: Settings) -> AsyncIterator[Rig]:
    async with rig_for(api_settings) as rig:
        yield rig


# --- what is heard ---


async def test_email_is_heard_from_its_acceptance_to_its_end_as_the_listing_shows_it(api: RunningApi, sending: Rig) -> None:
    async with listening(api) as heard, sending.worker():
        email_id = await api.accepted()
        last = await heard.email(email_id, lambda email: email["status"] == "complete")
        await heard.silent()
        assert last == (await api.call("GET", "/emails")).json["emails"][0]
        assert heard.retry == 1000
        assert {event for event, _ in heard.told()} == {"email"}


async def test_claim_and_its_end_show_in_sending(api: RunningApi, store: Store) -> None:
    async with listening(api) as heard:
        email_id = await api.accepted()
        assert (await heard.email(email_id))["sending"] == []
        owner = await claimed(store, email_id, "main")
        assert (await heard.email(email_id))["sending"] == ["main"]
        await release(store, owner.ref, owner.owner_revision)
        assert (await heard.email(email_id))["sending"] == []


async def test_what_is_being_sent_when_the_hub_starts_is_known(api: RunningApi, store: Store) -> None:
    email_id = await api.accepted()
    await claimed(store, email_id, "main")
    async with listening(api) as heard:
        await api.call("POST", f"/emails/{await api.accepted()}/cancel")
        await api.call("POST", f"/emails/{email_id}/cancel")  # refused: it is being sent
        view = await store.client.get(store.keys.email(email_id))
        assert view is not None
        await store.client.put(store.keys.email(email_id), view.value)
        assert (await heard.email(email_id))["sending"] == ["main"]


async def test_deferral_cancel_and_retry_are_heard(api: RunningApi, sending: Rig) -> None:
    async with listening(api) as heard, sending.worker(retry_intervals=(60.0,)):
        email_id = await api.accepted(to="soft@example.org")
        waiting = await heard.email(email_id, lambda email: email["not_before"] and not email["sending"])
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
            await store.client.put(store.keys.email(email_id), kv.value.replace(b'"Hello"', b'"Hello %d"' % number))
        took = time.monotonic() - started
        await heard.email(email_id, lambda email: email["subject"] == "Hello 49")
        assert len(heard.told("email")) <= 2 + took / hub.COALESCE + 1


async def test_removed_email_is_gone_for_its_owner_and_for_nobody_else(api: RunningApi, store: Store) -> None:
    other, admin = await api.token_for("emails:read"), await api.token_for("admin")
    email_id = await api.accepted()
    async with listening(api) as mine, listening(api, token=other) as others, listening(api, token=admin) as all_of_them:
        await store.client.delete(store.keys.email(email_id))
        for heard in (mine, all_of_them):
            event = await heard.until(lambda heard: heard.event != "overview")
            assert (event.event, event.data) == ("gone", {"id": email_id})
        await others.silent()


async def test_client_hears_of_its_own_emails_and_an_admin_of_all(api: RunningApi) -> None:
    other, admin = await api.token_for("emails:send", "emails:read"), await api.token_for("admin")
    async with listening(api) as mine, listening(api, token=other) as others, listening(api, token=admin) as all_of_them:
        ids = [await api.accepted(), await api.accepted(other)]
        assert (await mine.heard()).data["id"] == ids[0]
        assert (await others.heard()).data["id"] == ids[1]
        for email_id in ids:
            await all_of_them.email(email_id)
        await mine.silent()
        await others.silent()


async def test_listener_to_one_email_hears_of_that_alone(api: RunningApi) -> None:
    email_id, other = await api.accepted(), await api.accepted()
    admin = await api.token_for("admin")
    async with listening(api, f"?id={email_id}") as heard, listening(api, f"?id={email_id}", token=admin) as by_admin:
        await api.call("POST", f"/emails/{other}/cancel")
        await api.call("POST", f"/emails/{email_id}/cancel")
        assert (await heard.heard()).data["id"] == email_id
        assert (await by_admin.heard()).data["id"] == email_id, "and no overview"
        await heard.silent()


async def test_overview_comes_every_second_to_those_who_may_see_it(api: RunningApi) -> None:
    token = await api.token_for("emails:read", "workers:read")
    for query in ("", "?only=overview"):
        async with listening(api, query, token=token) as heard:
            started = time.monotonic()
            found = [(await heard.heard()).data for _ in range(3)]
            assert 1.5 < time.monotonic() - started < 5
            assert set(found[0]) == {"at", "rates", "queues", "in_flight", "workers", "apis", "etcd", "problem"}
            assert {event for event, _ in heard.told()} == {"overview"}
    async with listening(api) as mine:
        with pytest.raises(TimeoutError):
            await mine.heard(1.5)


# --- who may, and how many ---


async def test_bad_requests_are_told_what_is_wrong(api: RunningApi) -> None:
    (await api.call("GET", "/events", token="")).problem(401, "no-token")
    (await api.call("GET", "/events", token=await api.token_for("emails:send"))).problem(403, "insufficient-scope")
    (await api.call("GET", "/events?only=overview")).problem(403, "insufficient-scope")
    (await api.call("GET", "/events?only=x")).problem(422, "invalid-request", "only")
    (await api.call("GET", "/events?nonsense=1")).problem(422, "invalid-request", "nonsense")
    (await api.call("GET", "/events?id=nonsense")).problem(404, "not-found")
    theirs = await api.accepted(await api.token_for())
    (await api.call("GET", f"/events?id={theirs}")).problem(404, "not-found")
    admin = await api.token_for("admin")
    (await api.call("GET", f"/events?id={theirs}&only=overview", token=admin)).problem(422, "invalid-request", "only")
    head = await api.call("HEAD", "/events")
    assert head.status == 200 and head.headers["Content-Type"] == "text/event-stream"


async def test_too_many_listeners_are_refused_and_places_come_free_again(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST_LISTENERS", 4)
    admin = await api.token_for("admin")
    async with listening(api) as one, listening(api):
        (await api.call("GET", "/events")).problem(503, "too-many-listeners")  # half of the places
        async with listening(api, token=admin), listening(api, token=admin):
            refused = await api.call("GET", "/events", token=await api.token_for())
            refused.problem(503, "too-many-listeners")
            assert refused.headers["Retry-After"] == "5"
        one.response.close()
        async with asyncio.timeout(5):
            while (await api.call("HEAD", "/events")).status != 200 or not await _enters(api):  # noqa: ASYNC110 (another process's state)
                await asyncio.sleep(0.05)


async def _enters(api: RunningApi) -> bool:
    try:
        async with listening(api):
            return True
    except AssertionError:
        return False


async def test_stream_ends_with_its_token(api: RunningApi, store: Store) -> None:
    client, secret = await api.client("emails:read")
    issued = await api.call("POST", "/tokens", token="", json={"client_id": client.id, "client_secret": secret, "expires_in": 2})
    async with listening(api, token=issued.json["token"]) as heard:
        await heard.ended(4)
    (await api.call("GET", "/events", token=issued.json["token"])).problem(401, "invalid-token")
    revoked, deleted = [(await api.call("POST", "/tokens", token="", json={"client_id": client.id, "client_secret": secret})).json["token"] for _ in range(2)]
    async with listening(api, token=revoked) as heard, listening(api, token=deleted) as other:
        assert (await api.call("DELETE", "/tokens", token=revoked)).status == 204
        await heard.ended(3)
        await delete_client(store, client.id)
        await other.ended(3)


async def test_stream_ends_at_once_when_the_process_stops(start_api: StartApi) -> None:
    api = await start_api()
    async with listening(api) as heard, listening(api, "?only=overview", token=await api.token_for("admin")) as only:
        api.stop.set()
        await asyncio.gather(heard.ended(1.5), only.ended(1.5))


async def test_cookie_opens_the_stream_too(api: RunningApi) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{api.url}/events", headers={"Cookie": f"babygun_session={api.token}"}) as response:
        assert response.status == 200
        heard = Stream(response)
        email_id = await api.accepted()
        await heard.email(email_id)


# --- the hub ---


@pytest.fixture
async def alone(settings: Settings) -> AsyncIterator[tuple[RunningApi, Store, EtcdServer]]:
    """An API, its store and an etcd that nobody else uses."""
    with EtcdServer(fsync=False) as etcd:
        own = replace(settings, etcd_endpoints=(etcd.endpoint,), relay_url="smtp://127.0.0.1:2525", api_port=0, etcd_timeout=2.0)
        async with Store(own) as store, running(own, store) as api:
            await until_ready(api)
            api.token = await api.token_for()
            yield api, store, etcd


async def watchers(etcd: EtcdServer) -> int:
    """How many watches etcd has."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{etcd._health_port}/metrics") as response:
        return next(int(float(line.split()[1])) for line in (await response.text()).splitlines() if line.startswith("etcd_debugging_mvcc_watcher_total"))


async def fallen_to(etcd: EtcdServer, count: int) -> None:
    async with asyncio.timeout(5):
        while await watchers(etcd) != count:  # noqa: ASYNC110 (another process's state)
            await asyncio.sleep(0.05)


async def test_etcd_is_watched_only_while_somebody_listens(alone: tuple[RunningApi, Store, EtcdServer]) -> None:
    api, _, etcd = alone
    admin = await api.token_for("admin")
    before = await watchers(etcd)
    async with listening(api, "?only=overview", token=admin):
        assert await watchers(etcd) == before
    async with listening(api):
        async with listening(api), listening(api, token=admin):
            await fallen_to(etcd, before + 2)
        await asyncio.sleep(0.5)
        assert await watchers(etcd) == before + 2
    await fallen_to(etcd, before)


# --- going on ---


async def test_stream_that_broke_off_goes_on_without_gap_and_double(api: RunningApi) -> None:
    async with listening(api) as keeps_the_hub:
        async with listening(api) as heard:
            first = await api.accepted()
            await heard.email(first)
        missed = [await api.accepted() for _ in range(5)]
        for email_id in missed:
            await keeps_the_hub.email(email_id)
        async with listening(api, last_id=heard.last_id) as again:
            assert [(await again.heard()).data["id"] for _ in missed] == missed
            last = await api.accepted()
            assert (await again.heard()).data["id"] == last
            await again.silent()
        async with listening(api, f"?last_event_id={heard.last_id}") as by_query:
            assert [(await by_query.heard()).data["id"] for _ in missed] == missed


async def test_stream_goes_on_at_another_process(api: RunningApi, start_api: StartApi, store: Store) -> None:
    other = await start_api()
    email_id = await api.accepted()
    async with listening(api) as heard:
        await api.accepted()
        await heard.heard()
    missed = [await api.accepted() for _ in range(3)]
    await claimed(store, email_id, "main")  # a change of owners only
    gone = await api.accepted()
    await store.client.delete(store.keys.email(gone))
    await api.accepted(await api.token_for())  # somebody else's
    async with listening(other, token=api.token, last_id=heard.last_id) as again:
        found = [await again.heard() for _ in range(5)]
        assert [event.data["id"] for event in found] == [*missed, email_id, gone]
        assert found[3].data["sending"] == ["main"] and found[4].event == "gone"
        await again.silent()
        last = await api.accepted()
        assert (await again.heard()).data["id"] == last


async def test_stream_that_goes_on_where_nothing_happened_is_silent(api: RunningApi, start_api: StartApi) -> None:
    other = await start_api()
    async with listening(api) as heard:
        await api.accepted()
        await heard.heard()
    async with listening(other, token=api.token, last_id=heard.last_id) as again:
        await again.silent()
        email_id = await api.accepted()
        assert (await again.heard()).data["id"] == email_id


@pytest.mark.parametrize("last_id", ["nonsense", "999999999", "-1", "1.2.3", "12.x", "9" * 40])
async def test_id_that_is_not_ours_begins_anew(api: RunningApi, last_id: str) -> None:
    async with listening(api, last_id=last_id) as heard:
        event = await heard.heard()
        assert (event.event, event.data) == ("reset", {"reason": "unknown-id"})
        assert event.id != last_id
        email_id = await api.accepted()
        assert (await heard.heard()).data["id"] == email_id


async def test_id_whose_history_is_compacted_begins_anew(alone: tuple[RunningApi, Store, EtcdServer]) -> None:
    api, store, etcd = alone
    before = await watchers(etcd)
    async with listening(api) as heard:
        await api.accepted()
        await heard.heard()
    await fallen_to(etcd, before)
    for _ in range(3):
        await api.accepted()
    await compact(store.client, await store.client.put(b"now", b""))
    async with listening(api, last_id=heard.last_id) as again:
        event = await again.heard()
        assert (event.event, event.data) == ("reset", {"reason": "compacted"})
        email_id = await api.accepted()
        assert (await again.heard()).data["id"] == email_id


async def test_id_is_kept_fresh_though_nothing_is_heard(api: RunningApi, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "REMIND", 0.3)
    monkeypatch.setattr(mirror, "ASK_PROGRESS", 0.2)
    async with listening(api) as heard:
        before = int(await _first_id(heard))
        revision = await store.client.put(store.keys.idempotencies + b"x", b"")
        async with asyncio.timeout(5):
            while int(heard.last_id or before) < revision:
                with pytest.raises(TimeoutError):
                    await heard.heard(0.5)
        assert heard.events == []


async def _first_id(heard: Stream) -> str:
    with pytest.raises(TimeoutError):
        await heard.heard(0.1)
    return heard.last_id


async def test_comment_keeps_a_silent_stream_alive(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "COMMENT", 0.5)
    monkeypatch.setattr(stream, "REMIND", 60.0)
    async with listening(api) as heard:
        with pytest.raises(TimeoutError):
            await heard.heard(2.5)
        assert heard.comments >= 1


# --- trouble ---


async def test_etcd_that_was_away_for_a_moment_leaves_no_gap(start_api: StartApi, settings: Settings, api: RunningApi) -> None:
    async with proxy_to(settings.etcd_endpoints[0]) as proxy:
        far = await start_api(etcd_endpoints=(proxy.url,))
        async with listening(far, token=api.token) as heard:
            await heard.email(await api.accepted())
            proxy.cut()
            missed = [await api.accepted() for _ in range(3)]
            proxy.mend()
            assert [(await heard.heard(15)).data["id"] for _ in missed] == missed
            await heard.silent()


async def test_listener_is_told_that_etcd_is_away(start_api: StartApi, settings: Settings) -> None:
    async with proxy_to(settings.etcd_endpoints[0]) as proxy:
        far = await start_api(etcd_endpoints=(proxy.url,), etcd_timeout=0.5)
        proxy.cut()
        refused = await far.call("GET", "/events")
        refused.problem(503, "etcd-unavailable")
        assert refused.headers["Retry-After"]
        proxy.mend()
        async with asyncio.timeout(10):
            while not await _enters(far):  # noqa: ASYNC110 (another process's state)
                await asyncio.sleep(0.05)


async def test_compaction_that_overtakes_the_hub_begins_anew(alone: tuple[RunningApi, Store, EtcdServer]) -> None:
    near, store, etcd = alone
    async with proxy_to(etcd.endpoint) as proxy, running(replace(store.settings, etcd_endpoints=(proxy.url,)), store) as far:
        await until_ready(far)
        async with listening(far, token=near.token) as heard:
            await heard.email(await near.accepted())
            proxy.cut()
            missed = await near.accepted()
            await compact(store.client, await store.client.put(b"now", b""))
            proxy.mend()
            event = await heard.heard(20)
            assert (event.event, event.data) == ("reset", {"reason": "compacted"})
            assert missed in [email["id"] for email in (await far.call("GET", "/emails", token=near.token)).json["emails"]]
            email_id = await near.accepted()
            assert (await heard.email(email_id))["status"] == "incomplete"


async def test_listener_that_falls_behind_begins_anew_and_holds_up_nobody(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "MOST_PENDING", 3)
    monkeypatch.setattr(hub, "COALESCE", 1.5)
    async with listening(api) as heard:
        await heard.email(await api.accepted())
        ids = [await api.accepted() for _ in range(8)]
        event = await heard.heard()
        assert (event.event, event.data) == ("reset", {"reason": "fell-behind"})
        monkeypatch.setattr(hub, "COALESCE", 0.1)
        last = await api.accepted()
        await heard.email(last)
        assert set(ids)


async def test_listener_that_does_not_read_is_dropped_and_another_hears_all(api: RunningApi, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "UNREAD", 1.0)
    ids = [await api.accepted(to=[f"someone.with.a.long.address.{n}@example.org" for n in range(100)], send_at=(utc_now() + timedelta(hours=1)).isoformat()) for _ in range(40)]
    records = {email_id: await store.client.get(store.keys.email(email_id)) for email_id in ids}
    host, port = api.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(f"GET /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.token}\r\n\r\n".encode())
    assert b" 200 " in await reader.readline()
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    async with listening(api) as heard:
        assert await listeners(api) == 2
        async with asyncio.timeout(40):
            number = 0
            while await listeners(api) > 1:
                number += 1
                for email_id, kv in records.items():
                    assert kv is not None
                    await store.client.put(store.keys.email(email_id), kv.value.replace(b'"Hello"', b'"Hello %d"' % number))
                await heard.email(ids[-1], lambda email, n=number: email["subject"] == f"Hello {n}")  # type: ignore[misc]
    assert "reset" not in {event for event, _ in heard.told()}
    writer.close()


async def listeners(api: RunningApi) -> float:
    return Scraped((await api.call("GET", "/metrics")).text).get("babygun_event_listeners") or 0.0


async def test_rubbish_in_etcd_is_passed_over(api: RunningApi, store: Store) -> None:
    async with listening(api, token=await api.token_for("admin", "emails:send")) as heard:
        await store.client.put(store.keys.emails + b"rubbish", b"{")
        await store.client.put(store.keys.owners + b"rubbish", b"{")
        await store.client.put(store.keys.owners + b"rub/bish", b"{")
        await store.client.delete(store.keys.owners + b"rubbish")
        await heard.email(await api.accepted())
        await store.client.delete(store.keys.emails + b"rubbish")
        await heard.until(lambda event: event.event == "gone" and event.data["id"] == "rubbish")


# --- processes that die ---


async def test_stream_survives_a_killed_api_process_while_mail_flows(api: RunningApi, api_settings: Settings, sending: Rig, store: Store) -> None:
    """Every e-mail is heard to its end over two processes, of which the first is killed, and none of its states twice."""
    first = await _process(api_settings)
    try:
        async with sending.worker():
            ids: list[str] = []
            killed = asyncio.Event()

            async def send() -> None:
                for number in range(150):
                    ids.append(await api.accepted())
                    if number == 75:
                        os.kill(first.pid, signal.SIGKILL)
                        killed.set()

            ended: dict[str, int] = {}
            states: list[tuple[Any, ...]] = []
            feeding = asyncio.create_task(send())
            near = RunningApi(first.url, api._session, store, api.stop)
            near.token = api.token
            source, last_id = near, ""
            async with asyncio.timeout(40):
                while len(ended) < 150:
                    async with listening(source, last_id=last_id) as heard:
                        try:
                            while len(ended) < 150:
                                event = await heard.heard(20)
                                assert event.event == "email", event
                                states.append((event.data["id"], event.data["status"], event.data["tries"], tuple(event.data["sending"])))
                                if event.data["status"] == "complete":
                                    ended[event.data["id"]] = ended.get(event.data["id"], 0) + 1
                        except (EOFError, aiohttp.ClientError):
                            assert killed.is_set()
                            source, last_id = api, heard.last_id
            await feeding
            assert set(ended) == set(ids) and set(ended.values()) == {1}
            assert source is api, "the stream went on at the other process"
    finally:
        await first.end()


class _Api:
    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process, self.url, self.pid = process, url, process.pid

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()


async def _process(settings: Settings) -> _Api:
    """An API in a process of its own."""
    environ = environment(replace(settings, log_format="text")) | {"BABYGUN_API_PORT": "0"}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "babygun", "api", env=environ, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    async with asyncio.timeout(20):
        async for line in process.stderr:
            if b"listening" in line:
                url = line.decode().split("url=")[1].split()[0]
                break
        else:
            raise AssertionError("the API did not start")
    async with aiohttp.ClientSession() as session, asyncio.timeout(10):
        while True:
            async with session.get(f"{url}/readyz") as response:
                if response.status == 200:
                    return _Api(process, url)
            await asyncio.sleep(0.05)
