"""The memory that large bodies wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from babygun.api.http import body_memory as memory
from babygun.api.http.body_memory import BodyMemory
from babygun.api.http.problems import Problem
from tests.api.http.raw_requests import (
    POST,
    connected,
)
from tests.support.api import StartApi

LARGE = b'{"x": "' + b"a" * 100_000 + b'"}'


async def test_large_bodies_beyond_the_memory_wait_their_turn_and_small_ones_go_on(
    start_api: StartApi,
) -> None:
    api = await start_api(api_memory=150_000)
    async with connected(api) as (reader, writer):
        writer.write(
            POST.replace(b"TOKEN", api.token.encode())
            + b"Content-Length: %d\r\n\r\n" % len(LARGE)
            + LARGE[:70_000]
        )
        await writer.drain()
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
    async with asyncio.timeout(20):
        while (
            await api.send(body="b" * 100_000)
        ).status != 202:  # the one that was cut off has given its room back
            pass


async def test_body_larger_than_all_of_the_memory_goes_alone(start_api: StartApi) -> None:
    api = await start_api(api_memory=1000)
    for _ in range(2):
        await api.accepted(body="b" * 200_000)


async def test_room_is_handed_out_in_order_and_none_is_lost_with_those_who_leave() -> None:
    room = BodyMemory(100)
    await room.take(80)
    waiting = [asyncio.create_task(room.take(size)) for size in (60, 50, 10)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.wait(waiting[:1])
    assert not waiting[1].done() and not waiting[2].done(), (
        "the small one stays behind the large one"
    )
    room.give_back(80)
    await asyncio.gather(*waiting[1:])
    assert room.held == 60
    with pytest.raises(Problem, match="api_memory"):
        room.grow(50)
    given = asyncio.create_task(room.take(100))
    await asyncio.sleep(0)
    room.give_back(60)
    given.cancel()
    await asyncio.wait([given])
    assert room.held == 0, "given and cancelled in the same moment"
