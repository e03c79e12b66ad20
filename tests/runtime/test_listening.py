"""Ports: listening on one, reserving one, and the sentences for what goes wrong."""

from __future__ import annotations

import asyncio
import socket

import pytest

from babygun.errors import SettingsError
from babygun.runtime.listening import base_url, is_loopback, listen, reserved, url_of


async def test_server_on_port_0_has_a_url_that_can_be_called() -> None:
    server = await listen(asyncio.Protocol, "127.0.0.1", 0, setting="port", zero="any")
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert port and base_url(server, "127.0.0.1") == f"http://127.0.0.1:{port}"


async def test_busy_port_is_refused_with_the_setting_to_change() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = (
            f"something listens on 127.0.0.1:{port} already;"
            r" stop it, or set api_port to another port \(0: any\)"
        )
        with pytest.raises(SettingsError, match=said):
            await listen(asyncio.Protocol, "127.0.0.1", port, setting="api_port", zero="any")
        with (
            pytest.raises(SettingsError, match=said),
            reserved("127.0.0.1", port, setting="api_port", zero="any"),
        ):
            pass


async def test_reserved_port_is_shared_by_those_who_say_so_and_refused_to_others() -> None:
    with reserved("127.0.0.1", 0, setting="api_port", zero="any") as port:
        assert port
        servers = [
            await listen(
                asyncio.Protocol, "127.0.0.1", port, setting="api_port", zero="any", shared=True
            )
            for _ in range(2)
        ]
        with pytest.raises(SettingsError, match="something listens"):
            await listen(asyncio.Protocol, "127.0.0.1", port, setting="api_port", zero="any")
        for server in servers:
            server.close()
            await server.wait_closed()


async def test_address_of_another_machine_is_refused_with_the_systems_reason() -> None:
    with pytest.raises(SettingsError, match=r"can't listen on 192\.0\.2\.1:0: "):
        await listen(asyncio.Protocol, "192.0.2.1", 0, setting="port", zero="any")


@pytest.mark.parametrize(
    ("host", "tls", "url"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:80"),
        ("mail.example", True, "https://mail.example:80"),
        ("::1", False, "http://[::1]:80"),
        ("", False, "http://127.0.0.1:80"),
        ("0.0.0.0", False, "http://127.0.0.1:80"),
        ("::", False, "http://127.0.0.1:80"),
    ],
)
def test_url_of_all_addresses_is_that_of_this_machine(host: str, tls: bool, url: str) -> None:
    assert url_of(host, 80, tls=tls) == url


def test_loopback_is_what_only_this_machine_can_call() -> None:
    hosts = ("127.0.0.1", "127.9.9.9", "::1", "localhost", "0.0.0.0", "192.0.2.1", "example")
    assert [is_loopback(host) for host in hosts] == [True] * 4 + [False] * 3
