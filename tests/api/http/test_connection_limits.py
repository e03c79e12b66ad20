"""Connections in all and by address."""

from __future__ import annotations

import asyncio
import json
import logging
from ipaddress import ip_network

import pytest

from babygun.api.http.connection_limits import ConnectionLimits
from babygun.api.http.problems import Problem
from tests.api.http.raw_requests import GET, answers, connected, until_logged
from tests.support.api import RunningApi, StartApi


async def refused(api: RunningApi) -> dict[str, str]:
    """Connects until one more is too many; returns its problem."""
    async with connected(api) as (reader, writer):
        writer.write(GET + b"\r\n")
        async with asyncio.timeout(20):
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
    async with asyncio.timeout(20):
        while True:
            async with connected(api) as (reader, writer):
                writer.write(GET + b"Connection: close\r\n\r\n")
                if (await answers(reader))[0][0] == 200:
                    break


def test_address_is_held_to_its_number_and_others_are_not() -> None:
    limits = ConnectionLimits(4, 2)
    first = limits.admit("192.0.2.1")
    limits.admit("192.0.2.1")
    with pytest.raises(Problem, match="Your address"):
        limits.admit("192.0.2.1")
    limits.admit("192.0.2.2")
    limits.leave(first)
    for address in ("192.0.2.1", "192.0.2.3"):
        limits.admit(address)
    with pytest.raises(Problem, match="This process"):
        limits.admit("192.0.2.4")


def test_trusted_proxy_may_have_all_connections() -> None:
    limits = ConnectionLimits(4, 2, unlimited=(ip_network("192.0.2.1"),))
    for _ in range(4):
        limits.admit("192.0.2.1")
    with pytest.raises(Problem, match="This process"):
        limits.admit("192.0.2.1")
