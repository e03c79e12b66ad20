"""GET /events while etcd is away or put back, with listeners that do not read, and with many."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from babygun.api.live import hub, listener, stream
from babygun.email.model import Email, QueueState, Recipient
from babygun.etcd import Txn, put
from babygun.etcd.versions import PROGRESS
from babygun.intake.ids import new_email_id
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store import Store, codec
from babygun.store.changes import feed
from babygun.store.keys import range_end
from tests.api.live.listening import enters, listening
from tests.support.api import EMAIL, RunningApi, StartApi, running, until_ready
from tests.support.etcd_server import EtcdServer, needs_ability
from tests.support.processes import PATIENCE, Api, api_process
from tests.support.proxy import proxy_to
from tests.support.scraping import Scraped


async def test_etcd_that_was_away_for_a_moment_leaves_no_gap(
    start_api: StartApi, settings: Settings, api: RunningApi
) -> None:
    async with proxy_to(settings.etcd_endpoints[0]) as proxy:
        far = await start_api(etcd_endpoints=(proxy.url,))
        async with listening(far, token=api.token) as heard:
            await heard.email(await api.accepted())
            proxy.cut()
            missed = [await api.accepted() for _ in range(3)]
            proxy.mend()
            assert [(await heard.heard()).data["id"] for _ in missed] == missed
            await heard.silent()


async def test_listener_is_refused_while_etcd_is_away(
    start_api: StartApi, settings: Settings
) -> None:
    async with proxy_to(settings.etcd_endpoints[0]) as proxy:
        far = await start_api(etcd_endpoints=(proxy.url,), etcd_timeout=2.0)
        proxy.cut()
        refused = await far.call("GET", "/events")
        refused.problem(503, "etcd-unavailable")
        assert refused.headers["Retry-After"]
        proxy.mend()
        async with asyncio.timeout(PATIENCE):
            while not await enters(far):  # noqa: ASYNC110 (another process's state)
                await asyncio.sleep(0.05)


async def test_compaction_that_overtakes_the_hub_begins_again(
    alone: tuple[RunningApi, Store, EtcdServer],
) -> None:
    near, store, etcd = alone
    async with (
        proxy_to(etcd.endpoint) as proxy,
        running(replace(store.settings, etcd_endpoints=(proxy.url,)), store) as far,
    ):
        await until_ready(far)
        async with listening(far, token=near.token) as heard:
            await heard.email(await near.accepted())
            proxy.cut()
            missed = await near.accepted()
            await store.client.compact(await store.client.put(b"now", b""), timeout=20)
            proxy.mend()
            event = await heard.heard()
            assert (event.event, event.data) == ("reset", {"reason": "compacted"})
            assert missed in [
                email["id"]
                for email in (await far.call("GET", "/emails", token=near.token)).json["emails"]
            ]
            email_id = await near.accepted()
            assert (await heard.email(email_id))["status"] == "incomplete"


async def test_listener_that_falls_behind_begins_again_and_holds_up_nobody(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "MOST_PENDING", 3)
    async with listening(api) as heard:
        await heard.email(await api.accepted())
        batch = await api.call("POST", "/emails/batch", json=[EMAIL] * 8)
        assert batch.json["accepted"] == 8
        event = await heard.heard()
        assert (event.event, event.data) == ("reset", {"reason": "fell-behind"})
        await heard.email(await api.accepted())


async def test_listener_that_does_not_read_is_dropped_and_another_gets_all(
    api: RunningApi, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "UNREAD", 6.0)  # the other one reads sooner
    ids = [
        await api.accepted(
            to=[f"someone.with.a.long.address.{n}@example.org" for n in range(100)],
            send_at=(utc_now() + timedelta(hours=1)).isoformat(),
        )
        for _ in range(40)
    ]
    records = {email_id: await store.client.get(store.keys.email(email_id)) for email_id in ids}
    host, port = api.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(
        f"GET /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.token}\r\n\r\n".encode()
    )
    assert b" 200 " in await reader.readline()
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    async with listening(api) as heard:
        assert await listeners(api) == 2
        async with asyncio.timeout(PATIENCE):
            number = 0
            while await listeners(api) > 1:
                number += 1
                for email_id, kv in records.items():
                    assert kv is not None
                    await store.client.put(
                        store.keys.email(email_id),
                        kv.value.replace(b'"Hello"', b'"Hello %d"' % number),
                    )
                await heard.email(ids[-1], lambda email, n=number: email["subject"] == f"Hello {n}")  # type: ignore[misc]
                await asyncio.sleep(0.05)  # once its buffers are full, only time has to pass
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


async def test_etcd_that_is_put_back_to_an_older_state_begins_again(
    alone: tuple[RunningApi, Store, EtcdServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another etcd behind the same address has fewer revisions: a watch would wait for ever."""
    monkeypatch.setattr(feed, "PROGRESS_INTERVAL", 0.2)
    near, store, etcd = alone
    with EtcdServer(fsync=False) as older:
        async with (
            Store(replace(store.settings, etcd_endpoints=(older.endpoint,))) as other,
            proxy_to(etcd.endpoint) as proxy,
        ):
            for prefix in (store.keys.clients, store.keys.signing_keys):
                for kv in (await store.client.range(prefix, range_end(prefix))).kvs:
                    await other.client.put(kv.key, kv.value)
            for _ in range(20):
                await near.accepted()
            async with running(replace(store.settings, etcd_endpoints=(proxy.url,)), store) as far:
                await until_ready(far)
                async with listening(far, token=near.token) as heard:
                    await heard.email(await near.accepted())
                    proxy.cut()
                    proxy.target = older.endpoint
                    proxy.mend()
                    event = await heard.heard()
                    assert (event.event, event.data) == ("reset", {"reason": "unknown-id"})
                    async with asyncio.timeout(PATIENCE):
                        while (sent := await far.send(token=near.token)).status != 202:  # noqa: ASYNC110 (another process's state)
                            await asyncio.sleep(0.1)
                    await heard.email(sent.json["id"])


async def test_etcd_too_old_to_say_how_far_a_watch_is_lets_nobody_go_on_elsewhere(
    api: RunningApi, start_api: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "has", lambda version, ability: False)
    other = await start_api()
    async with listening(api) as keeps_the_hub, listening(api) as heard:
        await api.accepted()
        last_id = (await heard.heard()).id
        email_id = await api.accepted()
        await keeps_the_hub.email(email_id)
        async with listening(api, last_id=last_id) as here:
            assert (await here.heard()).data["id"] == email_id, "the ring serves all the same"
    async with listening(other, token=api.token, last_id=last_id) as again:
        event = await again.heard()
        assert (event.event, event.data) == ("reset", {"reason": "unknown-id"})


@needs_ability(PROGRESS)
async def test_gap_of_more_emails_than_a_listener_may_keep_begins_again(
    api: RunningApi, start_api: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await start_api()
    async with listening(api) as heard:
        await api.accepted()
        await heard.heard()
    for _ in range(6):
        await api.accepted()
    monkeypatch.setattr(hub, "MOST_PENDING", 5)
    async with listening(other, token=api.token, last_id=heard.last_id) as again:
        event = await again.heard()
        assert (event.event, event.data) == ("reset", {"reason": "fell-behind"})


@needs_ability(PROGRESS)
async def test_listeners_that_come_back_share_the_memory_for_what_they_missed(
    api: RunningApi, start_api: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await start_api()
    async with listening(api) as heard:
        await api.accepted()
        await heard.heard()
    missed = [await api.accepted() for _ in range(3)]
    monkeypatch.setattr(hub, "CAUGHT_UP_BYTES", 1000)
    async with listening(other, token=api.token, last_id=heard.last_id) as again:
        event = await again.heard()
        assert (event.event, event.data) == ("reset", {"reason": "fell-behind"})
    monkeypatch.undo()
    async with listening(other, token=api.token, last_id=heard.last_id) as again:
        assert [(await again.heard()).data["id"] for _ in missed] == missed


async def test_fifty_listeners_get_all_changes_and_take_little_memory(
    api_settings: Settings, store: Store
) -> None:
    ids = [new_email_id() for _ in range(500)]
    now = utc_now()
    recipient = Recipient(
        "ann@example.org",
        "to",
        "main",
        "delivered",
        250,
        "2.0.0",
        "Ok: queued as 4F2A91C03D",
        "success",
        1,
        now,
    )
    record = Email(
        "",
        "c",
        "shop@example.com",
        "Hello",
        (recipient,),
        {"main": QueueState(1, None, True)},
        now,
        now,
        status="complete",
        tries=1,
    )

    async def listen(far: Api, ready: asyncio.Event) -> set[str]:
        heard: set[str] = set()
        async with listening(far) as stream_:
            ready.set()
            async for line in stream_.response.content:
                assert not line.startswith(b"event: reset")
                if line.startswith(b'data: {"id":"'):
                    heard.add(line[13:49].decode())
                    if len(heard) == len(ids):
                        break
        return heard

    async with (
        api_process(store, api_settings, "admin") as far,
        asyncio.timeout(100),
        asyncio.TaskGroup() as tasks,
    ):
        begun = [asyncio.Event() for _ in range(50)]
        listens = [tasks.create_task(listen(far, ready)) for ready in begun]
        await asyncio.gather(*(ready.wait() for ready in begun))
        before = _memory(far.process.pid)
        for at in range(0, 4 * len(ids), 10):  # each e-mail changes four times
            changes = [
                put(
                    store.keys.email(email_id),
                    codec.encode_state(msgspec.structs.replace(record, id=email_id, tries=at)),
                )
                for email_id in ids[at % len(ids) :][:10]
            ]
            await store.client.txn(Txn([], changes))
        assert all([await each == set(ids) for each in listens])
        assert _memory(far.process.pid) - before < 64 << 20


def _memory(pid: int) -> int:
    """The bytes that a process has in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
