"""The memory that large bodies wait for."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from babygun.api.http import body_memory as memory
from babygun.api.http.body_memory import SMALL, BodyMemory
from babygun.api.http.context import Call
from babygun.api.http.problems import Problem
from babygun.store import Store
from babygun.store.access.clients import create_client
from tests.api.http.raw_requests import POST, connected, until_read
from tests.support.api import SEND_AND_READ, StartApi
from tests.support.processes import PATIENCE

LARGE = b'{"x": "' + b"a" * 100_000 + b'"}'


async def test_large_bodies_beyond_the_memory_wait_their_turn_and_small_ones_go_on(
    start_api: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "PATIENCE", 30.0)
    api = await start_api(api_memory=150_000)
    async with connected(api) as (reader, writer):
        writer.write(
            POST.replace(b"TOKEN", api.token.encode())
            + b"Content-Length: %d\r\n\r\n" % len(LARGE)
            + LARGE[:70_000]
        )
        await writer.drain()
        await until_read(api)
        waiting = asyncio.create_task(api.send(body="b" * 100_000))
        await api.accepted()
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        assert not done, "there is no room for it yet"
        writer.write(LARGE[70_000:])
        await reader.readuntil(b"\r\n\r\n")
        assert (await waiting).status == 202


async def test_large_bodies_that_find_no_room_are_sent_away_for_a_moment(
    start_api: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "PATIENCE", 0.2)
    api = await start_api(api_memory=150_000)

    async def chunks() -> AsyncIterator[bytes]:
        yield LARGE

    async with connected(api) as (_, writer):
        writer.write(
            POST.replace(b"TOKEN", api.token.encode())
            + b"Content-Length: %d\r\n\r\n" % len(LARGE)
            + LARGE[:70_000]
        )
        await writer.drain()
        while (
            answer := await api.send(body="b" * 100_000)
        ).status == 202:  # until the first one is being read
            pass
        answer.problem(503, "busy")
        assert answer.headers["Retry-After"] == "5"
        (await api.call("POST", "/emails", data=chunks(), content_type="application/json")).problem(
            503, "busy"
        )
        await api.accepted()
    async with asyncio.timeout(PATIENCE):
        while (
            await api.send(body="b" * 100_000)
        ).status != 202:  # the one that was cut off has given its room back
            pass


async def test_body_larger_than_all_of_the_memory_goes_alone(start_api: StartApi) -> None:
    api = await start_api(api_memory=1000)
    for _ in range(2):
        await api.accepted(body="b" * 200_000)


def of(client: str = "") -> Call:
    return Call("", client)


MB = 1 << 20


async def test_room_is_handed_out_in_order_and_none_is_lost_with_those_who_leave() -> None:
    room, first = BodyMemory(100 * MB), of("first")
    await room.take(first, 80 * MB)
    calls = [of(client) for client in ("gone", "large", "small")]
    waiting = [
        asyncio.create_task(room.take(call, size * MB))
        for call, size in zip(calls, (60, 50, 10), strict=True)
    ]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.wait(waiting[:1])
    assert not waiting[1].done() and not waiting[2].done(), (
        "the small one stays behind the large one"
    )
    room.give_back(first)
    await asyncio.gather(*waiting[1:])
    assert room.large.total == 60 * MB
    growing = of("growing")
    with pytest.raises(Problem, match="api_memory"):
        room.grow(growing, 50 * MB)
    given = asyncio.create_task(room.take(of(), 100 * MB))
    await asyncio.sleep(0)
    for call in calls:
        room.give_back(call)
    given.cancel()
    await asyncio.wait([given])
    assert room.large.total == 0, "given and cancelled in the same moment"


async def test_client_takes_no_more_than_it_leaves_free_for_others() -> None:
    room = BodyMemory(100 * MB)
    for _ in range(5):
        await room.take(of("greedy"), 10 * MB)
    waiting = asyncio.create_task(room.take(of("greedy"), 10 * MB))
    await asyncio.sleep(0)
    with pytest.raises(Problem, match="api_memory"):
        room.grow(of("greedy"), MB)
    for client in ("second", "third", "fourth"):
        await room.take(of(client), 10 * MB)
    assert not waiting.done() and room.large.of["greedy"] == 50 * MB
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_room_goes_first_to_the_client_that_holds_the_least() -> None:
    room, held = BodyMemory(60 * MB), [of("greedy") for _ in range(3)]
    for call in held:
        await room.take(call, 10 * MB)
    await room.take(of("second"), 30 * MB)
    waiting = {
        client: asyncio.create_task(room.take(of(client), 10 * MB))
        for client in ("greedy", "second", "third")
    }
    await asyncio.sleep(0)
    room.give_back(held[0])
    await waiting["third"]
    assert not waiting["greedy"].done() and not waiting["second"].done()
    for task in waiting.values():
        task.cancel()
    await asyncio.wait(waiting.values())


async def test_body_of_a_client_without_any_goes_alone_though_it_is_larger_than_the_memory() -> (
    None
):
    room, call = BodyMemory(MB), of()
    for size in (SMALL, SMALL + 1, MB, 3 * MB):
        room.grow(call, size)
    assert room.large.total == 3 * MB
    with pytest.raises(Problem, match="api_memory"):
        room.grow(of("second"), SMALL + 1)
    room.give_back(call)
    assert room.large.total == room.small.total == 0


async def test_bodies_that_fill_a_clients_share_leave_another_clients_to_be_read(
    start_api: StartApi,
) -> None:
    api = await start_api(api_memory=400_000)
    other = await api.token_for()
    begun = POST.replace(b"TOKEN", api.token.encode())
    async with AsyncExitStack() as flood:
        for _ in range(20):
            _, writer = await flood.enter_async_context(connected(api))
            writer.write(begun + b"Content-Length: %d\r\n\r\n{" % len(LARGE))
            await writer.drain()
        await until_read(api)
        await api.accepted(other, body="b" * 100_000)


async def test_body_that_grows_from_small_to_large_is_counted_once() -> None:
    room, call = BodyMemory(1 << 20), of()
    for size in (10, SMALL, SMALL + 1, 100_000):
        room.grow(call, size)
        held = (room.small.total, room.large.total)
        assert held == ((size, 0) if size <= SMALL else (0, size))
    room.give_back(call)
    assert (room.small.total, room.large.total) == (0, 0)


async def test_small_body_finds_no_room_beside_complete_ones_and_is_sent_away() -> None:
    room = BodyMemory(1)
    for _ in range(room.small_limit // SMALL):
        await room.take(of(), SMALL)
    with pytest.raises(Problem, match="api_memory"):
        await room.take(of(), 1)


async def test_small_body_that_arrives_the_longest_gives_way_to_a_new_one(
    start_api: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_LEAST_FOR_SMALL", 130_000)
    api = await start_api(api_memory=1000)
    head = POST.replace(b"TOKEN", api.token.encode()) + b"Content-Length: 65000\r\n\r\n{"
    async with connected(api) as (first, to_first), connected(api) as (second, to_second):
        for writer in (to_first, to_second):
            writer.write(head)
            await writer.drain()
            await until_read(api)
        await api.accepted()
        async with asyncio.timeout(PATIENCE):
            answer = await first.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503 ") and b"Connection: close" in answer
        to_second.write(b" " * 64_999)
        async with asyncio.timeout(PATIENCE):
            answer = await second.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 "), "the younger one was read to its end"


async def test_small_body_of_the_client_with_the_most_of_them_gives_way(
    start_api: StartApi, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_LEAST_FOR_SMALL", 200_000)
    known = await create_client(store, name="other", scopes=SEND_AND_READ)
    api = await start_api(api_memory=1000)
    other = await api.token_of(*known)

    def begun(token: str, size: int) -> bytes:
        return POST.replace(b"TOKEN", token.encode()) + b"Content-Length: %d\r\n\r\n{" % size

    async with connected(api) as (first, to_first), AsyncExitStack() as flood:
        to_first.write(begun(other, 1000))
        await to_first.drain()
        await until_read(api, other)  # the oldest of all
        for _ in range(10):
            _, writer = await flood.enter_async_context(connected(api))
            writer.write(begun(api.token, 65_000))
            await writer.drain()
        await until_read(api)
        to_first.write(b" " * 999)
        async with asyncio.timeout(PATIENCE):
            answer = await first.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 "), "it was read to its end"


async def test_large_answer_that_nobody_reads_is_cut_off_and_gives_its_memory_to_others(
    start_api: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = await start_api()
    token = await writing.token_for()
    content = base64.b64encode(bytes(6_000_000)).decode()
    email_id = await writing.accepted(token, attachments=[{"content": content}])
    monkeypatch.setattr(memory, "PATIENCE", 60.0)
    api = await start_api(api_memory=1, request_timeout=6.0)
    path = f"/emails/{email_id}/source"
    async with connected(api) as (reader, writer):
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b"\r\n\r\n")
            answer = await api.call("GET", path, token=token)
            assert answer.status == 200 and len(answer.text) > 8_000_000
            got = b""
            try:
                while part := await reader.read(1 << 20):
                    got += part
            except ConnectionError:
                pass
        assert len(got) < 8_000_000
