"""GET /events: where a stream that broke off goes on, here and at another process."""

from __future__ import annotations

import asyncio
from collections import Counter

import aiohttp
import pytest

from babygun.api.live import stream
from babygun.etcd.versions import PROGRESS
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.changes import feed
from babygun.store.changes.position import Position
from tests.api.live.conftest import AT_REST, fallen_to
from tests.api.live.listening import Stream, listening
from tests.support.api import RunningApi, StartApi
from tests.support.etcd_server import EtcdServer, needs_ability
from tests.support.processes import PATIENCE, Api, api_process
from tests.support.rig import Rig
from tests.support.tries import claimed


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


@needs_ability(PROGRESS)
async def test_stream_goes_on_at_another_process(
    api: RunningApi, start_api: StartApi, store: Store
) -> None:
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


@needs_ability(PROGRESS)
async def test_stream_that_goes_on_where_nothing_happened_is_silent(
    api: RunningApi, start_api: StartApi
) -> None:
    other = await start_api()
    async with listening(api) as heard:
        await api.accepted()
        await heard.heard()
    async with listening(other, token=api.token, last_id=heard.last_id) as again:
        await again.silent()
        email_id = await api.accepted()
        assert (await again.heard()).data["id"] == email_id


async def test_id_that_is_not_ours_begins_again(api: RunningApi) -> None:
    for last_id in ["nonsense", "999999999", "-1", "1.2.3", "12.x", "9" * 40]:
        async with listening(api, last_id=last_id) as heard:
            event = await heard.heard()
            assert (event.event, event.data) == ("reset", {"reason": "unknown-id"})
            assert event.id != last_id
            email_id = await api.accepted()
            assert (await heard.heard()).data["id"] == email_id


@needs_ability(PROGRESS)
async def test_id_whose_history_is_compacted_begins_again(
    alone: tuple[RunningApi, Store, EtcdServer],
) -> None:
    api, store, etcd = alone
    async with listening(api) as heard:
        await api.accepted()
        await heard.heard()
    await fallen_to(etcd, AT_REST)
    for _ in range(3):
        await api.accepted()
    await store.client.compact(await store.client.put(b"now", b""), timeout=20)
    async with listening(api, last_id=heard.last_id) as again:
        event = await again.heard()
        assert (event.event, event.data) == ("reset", {"reason": "compacted"})
        email_id = await api.accepted()
        assert (await again.heard()).data["id"] == email_id


@needs_ability(PROGRESS)
async def test_id_is_kept_fresh_though_no_event_comes(
    api: RunningApi, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "POSITION_INTERVAL", 0.3)
    monkeypatch.setattr(feed, "PROGRESS_INTERVAL", 0.2)
    async with listening(api) as heard:
        await _first_id(heard)
        revision = await store.client.put(store.keys.idempotencies + b"x", b"")
        async with asyncio.timeout(PATIENCE):
            while min(_position(heard)) < revision:
                with pytest.raises(TimeoutError):
                    await heard.heard(0.5)
        assert heard.events == []


async def _first_id(heard: Stream) -> None:
    async with asyncio.timeout(PATIENCE):
        while not heard.last_id:
            with pytest.raises(TimeoutError):
                await heard.heard(0.1)


def _position(heard: Stream) -> Position:
    """Where the stream could go on. One of the two watches may be ahead."""
    position = Position.parse(heard.last_id)
    assert position is not None, heard.last_id
    return position


async def test_silent_stream_says_that_it_is_alive(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "ALIVE", 0.5)
    async with listening(api) as heard, asyncio.timeout(PATIENCE):
        while not heard.signs:
            with pytest.raises(TimeoutError):
                await heard.heard(0.2)


@needs_ability(PROGRESS)
async def test_stream_survives_a_killed_api_process_while_mail_flows(
    api: RunningApi, api_settings: Settings, sending: Rig, store: Store
) -> None:
    """Each e-mail is followed to its end over two processes, one of them killed."""
    ids: list[str] = []
    ended: Counter[str] = Counter()
    uncertain: set[str] = set()  # they may end twice: the stream broke before its id covered them
    async with api_process(store, api_settings) as first, sending.worker():

        async def send() -> None:
            for number in range(150):
                ids.append(await api.accepted())
                if number == 75:
                    first.process.kill()

        feeding: asyncio.Task[None] | None = None
        source: Api | RunningApi = first
        last_id = ""
        async with asyncio.timeout(100):
            while len(ended) < 150:
                async with listening(source, token=api.token, last_id=last_id) as heard:
                    # What changed before the first stream began is not heard.
                    feeding = feeding or asyncio.create_task(send())
                    try:
                        while len(ended) < 150:
                            event = await heard.heard()
                            assert event.event == "email", event
                            ended[event.data["id"]] += event.data["status"] == "complete"
                            ended += Counter()  # drops those that are not final yet
                    except (EOFError, aiohttp.ClientError):
                        assert len(ids) > 75, "the process was killed"
                        source, last_id, covered = api, heard.last_id, min(_position(heard))
                        uncertain |= {
                            event.data["id"]
                            for event in heard.events
                            if event.data["revision"] > covered
                        }
        assert feeding is not None
        await feeding
    assert ended.keys() == set(ids)
    assert {email_id for email_id, times in ended.items() if times > 1} <= uncertain
    assert source is api, "the stream went on at the other process"
