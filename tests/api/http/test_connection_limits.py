"""Connections in all and by address."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from contextlib import AsyncExitStack
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from babygun.api.http.connection_limits import ConnectionLimits
from babygun.runtime.settings import Settings
from babygun.store import Store
from tests.api.http.raw_requests import GET, answers, connected, until_logged
from tests.api.http.test_certificate import certificate
from tests.support.api import RunningApi, StartApi, running
from tests.support.processes import PATIENCE


async def refused(api: RunningApi) -> dict[str, str]:
    """Connects until one more is too many; returns its problem."""
    async with connected(api) as (reader, writer):
        writer.write(GET + b"\r\n")
        async with asyncio.timeout(PATIENCE):
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"HTTP/1.1 200"):
                return await refused(api)
            assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"Retry-After: 5\r\n" in head and b"Connection: close\r\n" in head
            found: dict[str, str] = json.loads(await reader.read())
            return found


@pytest.mark.parametrize("setting", ["api_connections", "api_connections_per_address"])
async def test_connection_over_the_limit_is_answered_with_503_and_closed(
    start_api: StartApi, caplog: pytest.LogCaptureFixture, setting: str
) -> None:
    api = await start_api(**{setting: 4})
    with caplog.at_level(logging.WARNING):
        problem = await refused(api)
        assert problem["type"] == "urn:babygun:problem:too-many-connections"
        assert setting in problem["detail"]
        assert (await until_logged(caplog, "connections refused"))["setting"] == setting


async def test_connection_that_ends_makes_room_for_another(start_api: StartApi) -> None:
    api = await start_api(api_connections=4)
    await refused(api)
    async with asyncio.timeout(PATIENCE):
        while True:
            async with connected(api) as (reader, writer):
                writer.write(GET + b"Connection: close\r\n\r\n")
                if (await answers(reader))[0][0] == 200:
                    break


async def test_refused_connection_is_answered_over_tls_too(
    api_settings: Settings, store: Store, tmp_path: Path
) -> None:
    cert, key = certificate(tmp_path)
    settings = replace(api_settings, api_cert=cert, api_key=key, api_connections=1)
    trusting = ssl.create_default_context(cafile=cert)
    async with running(settings, store) as api:
        port = int(api.url.rpartition(":")[2])
        _, first = await asyncio.open_connection(
            "127.0.0.1", port, ssl=trusting, server_hostname="localhost"
        )
        reader, second = await asyncio.open_connection(
            "127.0.0.1", port, ssl=trusting, server_hostname="localhost"
        )
        second.write(GET + b"\r\n")
        async with asyncio.timeout(PATIENCE):
            assert (await reader.readline()).startswith(b"HTTP/1.1 503 ")
        for writer in (first, second):
            writer.transport.abort()


async def test_flood_of_refused_connections_is_reset_without_an_answer(
    start_api: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babygun.api.http.connection_limits._REFUSALS", 1)
    api = await start_api(api_connections=4)
    await refused(api)
    async with AsyncExitStack() as held:
        held_answers = []
        for _ in range(8):
            reader, _ = await held.enter_async_context(connected(api))
            held_answers.append(asyncio.create_task(reader.read()))
        async with asyncio.timeout(PATIENCE):
            while not [task for task in held_answers if task.done() and no_answer(task)]:  # noqa: ASYNC110 (a socket's state)
                await asyncio.sleep(0.01)
        for task in held_answers:
            task.cancel()
        await asyncio.gather(*held_answers, return_exceptions=True)


def no_answer(task: asyncio.Task[bytes]) -> bool:
    return isinstance(task.exception(), ConnectionError) or not task.result()


def refusal(limits: ConnectionLimits, address: str) -> str:
    """The words with which one more connection is refused; empty: it is not."""
    problem = limits.admit(address).problem
    return problem.detail if problem else ""


def test_address_is_held_to_its_number_and_others_are_not() -> None:
    limits = ConnectionLimits(4, 2)
    first = limits.admit("192.0.2.1")
    assert not refusal(limits, "192.0.2.1")
    assert "Your address" in refusal(limits, "192.0.2.1")
    assert not refusal(limits, "192.0.2.2")
    first.leave()
    first.leave()
    assert not refusal(limits, "192.0.2.1") and not refusal(limits, "192.0.2.3")
    assert "This process" in refusal(limits, "192.0.2.4")


def test_trusted_proxy_may_have_all_connections() -> None:
    limits = ConnectionLimits(4, 2, unlimited=(ip_network("192.0.2.1"),))
    assert not any(refusal(limits, "192.0.2.1") for _ in range(4))
    assert "This process" in refusal(limits, "192.0.2.1")
