"""GET /emails/{id}, with and without ``wait``: the answer comes with the change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from babygun.api import app as api_app
from babygun.api.http.waiters import WAITERS, Waiters
from babygun.etcd import Txn, delete_range
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.access.clients import delete_client
from babygun.store.emails import claims, on_request
from babygun.store.keys import range_end
from tests.support.api import Answer, RunningApi, StartApi, basic, running, until_ready
from tests.support.processes import PATIENCE
from tests.support.rig import Rig, wide_relays
from tests.support.scraping import scraped
from tests.support.tries import GONE, LATER, OK, claimed, finished


@pytest.fixture
def waiters(monkeypatch: pytest.MonkeyPatch) -> list[Waiters]:
    """The waiting calls of this process's APIs, in the order of their starts."""
    found: list[Waiters] = []
    build = api_app.build_app

    def remembered(settings: Settings) -> Any:
        app = build(settings)
        found.append(app[WAITERS])
        return app

    monkeypatch.setattr(api_app, "build_app", remembered)
    return found


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 (the state of a server)
            await asyncio.sleep(0.005)


@asynccontextmanager
async def waiting(
    waiters: list[Waiters], api: RunningApi, email_id: str, wait: str = "60s", **arguments: Any
) -> AsyncIterator[asyncio.Task[Answer]]:
    """A call that waits, and has its watches."""
    before = len(waiters[0])
    task = asyncio.create_task(api.call("GET", f"/emails/{email_id}?wait={wait}", **arguments))
    await until(lambda: len(waiters[0]) > before or task.done())
    assert not task.done()
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def version(api: RunningApi, email_id: str) -> str:
    return str((await api.call("GET", f"/emails/{email_id}")).headers["ETag"])


async def test_wait_ends_with_each_change(
    waiters: list[Waiters], api: RunningApi, store: Store
) -> None:
    email_id = await api.accepted()
    async with waiting(waiters, api, email_id) as wait:
        held = await claimed(store, email_id)
        assert (await wait).json["sending"] == ["default"]
    async with waiting(waiters, api, email_id) as wait:
        await claims.release(store, held.ref, held.owner_revision)
        assert (await wait).json["sending"] == []
    async with waiting(waiters, api, email_id) as wait:
        await on_request.cancel(store, email_id)
        answer = await wait
        assert (answer.json["status"], answer.headers["ETag"]) == (
            "cancelled",
            await version(api, email_id),
        )
    assert (await api.call("GET", f"/emails/{email_id}?wait=60s")).json["status"] == "cancelled"
    assert len(waiters[0]) == 0


async def test_wait_ends_with_a_deferral_that_happens_by_a_real_worker(
    waiters: list[Waiters], api: RunningApi, rig: Rig
) -> None:
    email_id = await api.accepted(to="ann@example.org")
    async with rig.worker(
        relays={"default": {"url": "smtp://127.0.0.1:1"}}, retry_intervals=(600.0,)
    ):
        status, known = "pending", '""'
        while status == "pending":
            answer = await api.call(
                "GET", f"/emails/{email_id}?wait=60s", headers={"If-None-Match": known}
            )
            status, known = answer.json["recipients"][0]["status"], answer.headers["ETag"]
    assert status == "deferred" and answer.json["not_before"]


async def test_known_version_misses_nothing_between_two_calls(
    waiters: list[Waiters], api: RunningApi, store: Store
) -> None:
    email_id = await api.accepted()
    known = {"If-None-Match": await version(api, email_id)}
    held = await claimed(store, email_id)
    answer = await api.call("GET", f"/emails/{email_id}?wait=60s", headers=known)
    assert answer.json["sending"] == ["default"]
    await claims.release(store, held.ref, held.owner_revision)
    changed = await api.call(
        "GET", f"/emails/{email_id}?wait=60s", headers={"If-None-Match": answer.headers["ETag"]}
    )
    assert (
        changed.json["sending"] == [] and changed.headers["ETag"] in known.values()
    )  # it is as it was
    async with waiting(
        waiters, api, email_id, headers={"If-None-Match": f'"x", W/{changed.headers["ETag"]}'}
    ) as wait:
        await claimed(store, email_id)
        assert (await wait).status == 200


async def test_version_is_another_one_whenever_the_document_is(
    api: RunningApi, store: Store
) -> None:
    email_id = await api.accepted(to=["ann@example.org", "bob@example.org"])
    versions = [await version(api, email_id)]
    assert versions == [await version(api, email_id)]
    await finished(store, email_id, {"ann@example.org": OK, "bob@example.org": LATER})
    versions.append(await version(api, email_id))
    await on_request.cancel(store, email_id)
    versions.append(await version(api, email_id))
    prefix = store.keys.content(email_id)
    await store.client.txn(Txn([], [delete_range(prefix, range_end(prefix))]))
    versions.append(await version(api, email_id))
    assert len(set(versions)) == 4


async def test_call_with_a_known_version_gets_no_body(api: RunningApi, store: Store) -> None:
    email_id = await api.accepted()
    for value in (await version(api, email_id), "*", f'"other", W/{await version(api, email_id)}'):
        answer = await api.call("GET", f"/emails/{email_id}", headers={"If-None-Match": value})
        assert (answer.status, answer.text, answer.headers["ETag"]) == (
            304,
            "",
            await version(api, email_id),
        )
    for value in ('"other"', "rubbish", ""):
        assert (
            await api.call("GET", f"/emails/{email_id}", headers={"If-None-Match": value})
        ).status == 200
    await finished(store, email_id, {"ann@example.org": GONE})
    assert (
        await api.call(
            "GET",
            f"/emails/{email_id}?wait=60s",
            headers={"If-None-Match": await version(api, email_id)},
        )
    ).status == 304


async def test_wait_that_nothing_ends_answers_as_things_are(
    waiters: list[Waiters], api: RunningApi
) -> None:
    email_id = await api.accepted()
    before, began = scraped("api"), time.monotonic()
    answer = await api.call("GET", f"/emails/{email_id}?wait=1s")
    took = time.monotonic() - began
    assert answer.status == 200 and answer.json["status"] == "incomplete"
    grown = scraped("api").since(
        before, "babygun_http_request_seconds_sum", method="GET", route="/emails/{id}"
    )
    assert grown < took - 0.9, "the wait itself does not count as slowness"
    assert (
        await api.call(
            "GET",
            f"/emails/{email_id}?wait=100ms",
            headers={"If-None-Match": answer.headers["ETag"]},
        )
    ).status == 304
    assert (
        await api.call("GET", f"/emails/{email_id}?wait=0", headers={"If-None-Match": '"x"'})
    ).status == 200
    assert len(waiters[0]) == 0


async def test_wait_that_is_no_time_is_refused(api: RunningApi) -> None:
    email_id = await api.accepted()
    for wait in ("61s", "2m", "-1s", "x", "", "1e3", "9" * 400, "30s%00"):
        answer = await api.call("GET", f"/emails/{email_id}?wait={wait}")
        answer.problem(422, "invalid-request", "wait")


async def test_wait_for_anothers_email_is_not_found_at_once(api: RunningApi) -> None:
    email_id = await api.accepted()
    (await api.call("GET", f"/emails/{email_id}?wait=60s", token=await api.token_for())).problem(
        404, "not-found"
    )
    (await api.call("GET", "/emails/x?wait=60s")).problem(404, "not-found")


async def test_wait_of_a_client_that_is_deleted_meanwhile_shows_nothing(
    waiters: list[Waiters], api: RunningApi, store: Store
) -> None:
    client, secret = await api.client()
    answer = await api.call("POST", "/tokens", token="", headers=basic(client.id, secret))
    email_id = await api.accepted(answer.json["token"])
    async with waiting(waiters, api, email_id, token=answer.json["token"]) as wait:
        await delete_client(store, client.id)
        await until_refused(api, answer.json["token"])
        await claimed(store, email_id)
        (await wait).problem(401, "invalid-token")


async def until_refused(api: RunningApi, token: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while (await api.call("GET", "/emails", token=token)).status != 401:
            pass


async def test_client_that_goes_away_frees_everything(
    waiters: list[Waiters], api: RunningApi
) -> None:
    email_id = await api.accepted()
    tasks = len(asyncio.all_tasks())
    async with waiting(waiters, api, email_id) as wait:
        assert len(asyncio.all_tasks()) > tasks
        wait.cancel()
        await until(lambda: len(waiters[0]) == 0)
        await until(
            lambda: (
                not [
                    task
                    for task in asyncio.all_tasks()
                    if task.get_name() in ("wait for an e-mail", "next change")
                ]
            )
        )
    assert (await api.call("GET", f"/emails/{email_id}")).status == 200


async def test_stop_ends_every_wait_at_once(waiters: list[Waiters], start_api: StartApi) -> None:
    api = await start_api(drain_timeout=600.0)
    email_id = await api.accepted()
    async with waiting(waiters, api, email_id) as first, waiting(waiters, api, email_id) as second:
        api.stop.set()
        assert [(await wait).json["status"] for wait in (first, second)] == ["incomplete"] * 2


async def test_more_waits_than_are_taken_are_refused_and_reads_are_not(
    waiters: list[Waiters], api: RunningApi, store: Store
) -> None:
    email_id = await api.accepted()
    waiters[0].limit = 2
    async with waiting(waiters, api, email_id) as first, waiting(waiters, api, email_id) as second:
        answer = await api.call("GET", f"/emails/{email_id}?wait=60s")
        answer.problem(503, "too-many-waiting")
        assert answer.headers["Retry-After"]
        assert (await api.call("GET", f"/emails/{email_id}")).status == 200
        await claimed(store, email_id)
        assert {(await wait).status for wait in (first, second)} == {200}
    assert (await api.call("GET", f"/emails/{email_id}?wait=1ms")).status == 200


async def test_many_waits_all_end_with_the_change(
    waiters: list[Waiters], api: RunningApi, store: Store
) -> None:
    email_id = await api.accepted()
    # aiohttp's client opens 100 connections at most.
    waits = [
        asyncio.create_task(api.call("GET", f"/emails/{email_id}?wait=60s")) for _ in range(90)
    ]
    await until(lambda: len(waiters[0]) == len(waits))
    await on_request.cancel(store, email_id)
    assert {answer.json["status"] for answer in await asyncio.gather(*waits)} == {"cancelled"}


async def test_wait_outlives_etcd_that_is_away_for_a_while(
    waiters: list[Waiters], api_settings: Settings
) -> None:
    from tests.support.etcd_server import EtcdServer

    with EtcdServer() as server:
        settings = replace(api_settings, etcd_endpoints=(server.endpoint,), etcd_timeout=4.0)
        async with Store(settings) as store, running(settings, store) as api:
            await until_ready(api)
            api.token = await api.token_for()
            email_id = (await api.taken()).json["id"]
            async with waiting(waiters, api, email_id) as wait:
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.launch)
                while True:
                    try:
                        await on_request.cancel(store, email_id)
                        break
                    except Exception:
                        await asyncio.sleep(0.05)
                assert (await wait).json["status"] == "cancelled"
            email_id = (await api.taken()).json["id"]
            async with waiting(waiters, api, email_id) as wait:
                await asyncio.to_thread(server.kill)
                waiters[0].stop()  # the wait ends
                (await wait).problem(503, "etcd-unavailable")


async def test_email_whose_content_is_gone_says_so(api: RunningApi, store: Store) -> None:
    email_id = await api.accepted(sender="Shop <shop@example.com>")
    await finished(store, email_id, {"ann@example.org": OK})
    chunks = store.keys.content(email_id)
    await store.client.txn(Txn([], [delete_range(chunks, range_end(chunks))]))
    email = (await api.call("GET", f"/emails/{email_id}")).json
    assert email["content_expired"] is True
    assert [email[name] for name in ("body", "html", "headers", "reply_to", "attachments")] == [
        None
    ] * 5
    assert (email["status"], email["sender"], email["subject"]) == (
        "complete",
        "shop@example.com",
        "Hello",
    )


async def test_wide_email_is_shown_whole_with_its_log(start_api: StartApi, store: Store) -> None:
    api = await start_api(relays=wide_relays(20))
    addresses = [f"ann@d{number}.example" for number in range(20)]
    email_id = await api.accepted(to=addresses)
    await finished(store, email_id, {addresses[0]: OK}, "q0")
    await finished(store, email_id, {addresses[1]: LATER}, "q1")
    shown = (await api.call("GET", f"/emails/{email_id}")).json
    assert sorted(r["email"] for r in shown["recipients"]) == sorted(addresses)
    assert shown["not_before"] and shown["many"]["total"] == 20
    answer = await api.call("POST", f"/emails/{email_id}/cancel")
    assert answer.json["status"] == "cancelled" and answer.json["many"]["by_status"] == {
        "cancelled": 19,
        "delivered": 1,
    }
    again = await api.call("POST", f"/emails/{email_id}/retry")
    assert again.json["status"] == "incomplete" and len(again.json["recipients"]) == 20
    lines = (await api.call("GET", f"/emails/{email_id}/log")).json["entries"]
    assert [line["event"] for line in lines] == [
        *("accepted", "claimed", "delivered", "claimed", "deferred", "cancelled", "retried")
    ]
