"""Relays as the settings give them: what is refused, and what is read into a destination."""

from __future__ import annotations

import pytest

from babygun.errors import SettingsError
from babygun.routing.route_settings import read_routes
from babygun.routing.server import Server
from babygun.runtime.settings import Settings


def default_relay(url: str) -> Server:
    [route] = read_routes(Settings(relay_url=url))
    assert route.relay and route.relay.server
    return route.relay.server


@pytest.mark.parametrize(
    ("relay", "message"),
    [
        ({}, "needs a url"),
        ({"url": "http://x"}, "must be of the form"),
        ({"url": "smtp://x:notaport"}, "url"),
        ({"url": "smtp://x", "tls": "maybe"}, "tls must be one of"),
        ({"url": "smtps://x", "tls": "none"}, "go together"),
        ({"url": "smtp://x", "domains": []}, "domains must be"),
        ({"url": "smtp://x", "domains": ["☃.example"]}, "domains: the domain is not valid"),
        ({"url": "smtp://x", "max_connections": 0}, "above 0"),
        ({"url": "smtp://x", "chunking": "no"}, "chunking must be true or false"),
        ({"url": "smtp://x", "pipelining": 1}, "pipelining must be true or false"),
        ({"url": "smtp://x", "speed": 1}, "no field 'speed'"),
    ],
)
def test_relay_with_a_mistake_says_which(relay: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read_routes(Settings(relays={"r": relay}))


def test_relay_with_a_bad_name_is_refused() -> None:
    with pytest.raises(SettingsError, match="lower-case"):
        read_routes(Settings(relays={"a/b": {"url": "smtp://x"}}))


def test_relay_url_beside_a_relay_called_default_is_refused() -> None:
    settings = Settings(relay_url="smtp://x", relays={"default": {"url": "smtp://y"}})
    with pytest.raises(SettingsError, match="keep one"):
        read_routes(settings)


def test_relay_url_has_its_parts_decoded_and_ports_by_scheme() -> None:
    relay = default_relay("smtps://me%40here:p%2Fw@mail.example")
    assert (relay.username, relay.password, relay.port, relay.tls) == (
        "me@here",
        "p/w",
        465,
        "implicit",
    )
    assert "p/w" not in repr(relay)


def test_relay_with_a_password_off_this_host_requires_tls() -> None:
    assert default_relay("smtp://u:p@mail.example").tls == "required"
    assert default_relay("smtp://u:p@127.0.0.1").tls == "opportunistic"


def test_relays_host_beyond_ascii_is_the_one_that_a_browser_would_ask() -> None:
    assert default_relay("smtp://Mail.FAß.example").host == "mail.xn--fa-hia.example"
    with pytest.raises(SettingsError, match="relay_url: url: the domain is not valid"):
        default_relay("smtp://☃.example")
