"""Whose word is taken about a call's address and scheme."""

from __future__ import annotations

import logging
from ipaddress import ip_network
from typing import Any

import pytest

from tests.support.api import RunningApi, StartApi

HERE = ip_network("127.0.0.0/8")
INNER = ip_network("10.0.0.0/8")


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Any:
    """The address in the access log of a call with these headers."""

    async def address(api: RunningApi, headers: dict[str, str]) -> str:
        with caplog.at_level(logging.DEBUG, "babygun.api"):
            answer = await api.call("GET", "/healthz", token="", headers=headers)
        [line] = [
            record.fields  # type: ignore[attr-defined]
            for record in caplog.records
            if record.message == "request"
            and record.fields["request_id"] == answer.headers["X-Request-Id"]  # type: ignore[attr-defined]
        ]
        return str(line["address"])

    return address


async def test_address_in_headers_counts_for_nothing_by_default(
    api: RunningApi, logged: Any
) -> None:
    for headers in (
        {},
        {"X-Forwarded-For": "192.0.2.7"},
        {"Forwarded": "for=192.0.2.7"},
        {"X-Real-IP": "192.0.2.7"},
    ):
        assert await logged(api, headers) == "127.0.0.1"


async def test_right_most_address_that_is_no_trusted_proxy_counts(
    start_api: StartApi, logged: Any
) -> None:
    api = await start_api(trusted_proxies=(HERE, INNER))
    for named, address in [
        ("192.0.2.7", "192.0.2.7"),
        ("198.51.100.1, 192.0.2.7", "192.0.2.7"),  # the first was the caller's own claim
        ("192.0.2.7, 10.0.0.3", "192.0.2.7"),
        ("198.51.100.1,192.0.2.7:1234 , 10.0.0.3,10.0.0.4", "192.0.2.7"),
        ("10.0.0.5, 10.0.0.3", "10.0.0.5"),  # a caller inside
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("192.0.2.7, unknown", "127.0.0.1"),
        ("192.0.2.7, unknown, 10.0.0.3", "10.0.0.3"),
        (" , ,", "127.0.0.1"),
        ("", "127.0.0.1"),
    ]:
        assert await logged(api, {"X-Forwarded-For": named}) == address
        assert (
            await logged(api, {"X-Forwarded-For": named, "Forwarded": "for=198.51.100.9"})
            == address
        )


async def test_proxy_outside_of_the_trusted_networks_is_a_caller(
    start_api: StartApi, logged: Any
) -> None:
    api = await start_api(trusted_proxies=(INNER,))
    assert await logged(api, {"X-Forwarded-For": "192.0.2.7"}) == "127.0.0.1"


async def test_scheme_is_the_one_that_the_trusted_proxy_reports(start_api: StartApi) -> None:
    api = await start_api(trusted_proxies=(HERE, INNER))
    client, secret = await api.client()
    body = {"client_id": client.id, "client_secret": secret}
    origin = {"Host": "mail.example.net", "Origin": "https://mail.example.net"}
    for headers, https in [
        ({"X-Forwarded-Proto": "https"}, True),
        ({"X-Forwarded-Proto": "HTTPS", "X-Forwarded-For": "192.0.2.7"}, True),
        ({"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7, 10.0.0.3"}, True),
        ({"X-Forwarded-Proto": "https, http", "X-Forwarded-For": "192.0.2.7, 10.0.0.3"}, True),
        ({"X-Forwarded-Proto": "http, https", "X-Forwarded-For": "192.0.2.7, 10.0.0.3"}, False),
        # What a caller wrote before the proxy's own word.
        ({"X-Forwarded-Proto": "https, http", "X-Forwarded-For": "10.0.0.3, 192.0.2.7"}, False),
        ({"X-Forwarded-Proto": "wss", "X-Forwarded-For": "192.0.2.7"}, False),
        ({"X-Forwarded-For": "192.0.2.7"}, False),
        ({"Forwarded": "proto=https"}, False),
    ]:
        signed_in = await api.call(
            "POST", "/session", token="", json=body, headers=headers | origin
        )
        assert signed_in.status == (200 if https else 403), signed_in.text
        if https:
            assert signed_in.headers["Set-Cookie"].startswith("__Host-babygun_session=")
            assert "Secure" in signed_in.headers["Set-Cookie"]
