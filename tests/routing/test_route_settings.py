"""Routes as the settings give them: what is refused, and what an mx route is."""

from __future__ import annotations

from typing import Any

import pytest

from babygun.errors import SettingsError
from babygun.routing.providers import Limits, Rate
from babygun.routing.route_settings import read_routes
from babygun.runtime.settings import Settings

RELAY = {"url": "smtp://mail.example"}


@pytest.mark.parametrize(
    ("route", "message"),
    [
        ({}, "routes.a: needs a url, or mx = true"),
        ({"mx": False}, "routes.a: needs a url, or mx = true"),
        ({"mx": True, "url": "smtp://x"}, "routes.a: needs a url, or mx = true"),
        ({"mx": True, "max_connections": 5}, "an mx route has no field 'max_connections'"),
        ({"mx": True, "tls": "required"}, "tls of an mx route must be one of none, opp"),
        ({"mx": True, "tls_min": 1.2}, "routes.a: tls_min must be one of 1.0, 1.2, 1.3, as"),
        (RELAY | {"tls_min": "ssl3"}, "routes.a: tls_min must be one of"),
        ({"mx": True, "source_addresses": ["here"]}, "routes.a: source_addresses: 'here'"),
        ({"mx": True, "domains": [""]}, "routes.a: domains must be a list"),
        ({"mx": True, "domains": ["ann@a.example"]}, "'ann@a.example' matches no domain"),
        ({"mx": True, "domains": ["a..example"]}, "'a..example' matches no domain"),
        ({"mx": True, "source_addresses": [5]}, "routes.a: source_addresses must be a list"),
        ({"mx": True, "source_addresses": 5}, "routes.a: source_addresses must be a list"),
        (RELAY | {"source_addresses": ["192.0.2.1", "192.0.2.2"]}, "is one address"),
        ({"mx": True, "return_path": "on"}, "return_path must be one of recipient, queue, off"),
        (RELAY | {"rate": "fast"}, "routes.a: rate 'fast' is not of the form"),
        (RELAY | {"connections": 0}, "routes.a: connections must be a whole number above 0"),
    ],
)
def test_route_with_a_mistake_says_which(route: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read_routes(Settings(routes={"a": route}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"routes": {"a": RELAY}, "relays": {"b": RELAY}}, "relays is the earlier name"),
        ({"relay_url": "smtp://x", "default": "mx"}, "relay_url and default are both set"),
        (
            {"routes": {"default": RELAY}, "relay_url": "smtp://x"},
            "routes has one called 'default'",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        read_routes(Settings(**settings))


def test_relays_is_the_earlier_name_of_routes() -> None:
    assert read_routes(Settings(relays={"a": RELAY})) == read_routes(Settings(routes={"a": RELAY}))


def test_default_mx_is_an_mx_route_that_comes_last() -> None:
    first, last = read_routes(Settings(routes={"a": RELAY}, default="mx"))
    assert first.relay and not last.relay
    assert (last.domains, last.tls) == (("*",), "opportunistic")


def test_oldest_version_of_tls_is_1_2_unless_the_route_says_otherwise() -> None:
    routes = {"a": RELAY | {"tls_min": "1.0"}, "b": {"mx": True, "tls_min": "1.3"}, "c": RELAY}
    old, older, usual = read_routes(Settings(routes=routes))
    assert (older.tls_min, usual.tls_min) == ("1.3", "1.2")
    assert old.relay and old.relay.server and old.relay.server.tls_min == "1.0"
    assert usual.relay and usual.relay.server and usual.relay.server.tls_min == "1.2"


def test_source_addresses_of_the_settings_hold_for_mx_routes_without_their_own() -> None:
    routes = {
        "a": RELAY,
        "b": {"mx": True, "domains": "b.example", "source_addresses": ["192.0.2.1"]},
        "c": {"mx": True},
        "d": RELAY | {"source_addresses": "192.0.2.2"},
    }
    ours = ("192.0.2.7", "2001:db8::7")
    read = read_routes(Settings(routes=routes, source_addresses=ours))
    assert [route.sources for route in read] == [(), ("192.0.2.1",), ours, ()]
    assert [route.relay.server.source for route in read if route.relay and route.relay.server] == [
        "",
        "192.0.2.2",
    ]


@pytest.mark.parametrize(
    ("fields", "limits"),
    [
        ({}, None),
        ({"rate": "5/s"}, Limits(1_000_000, 1_000_000, Rate(5, 1.0))),
        ({"connections": 2}, Limits(2, 1_000_000, Rate(1_000_000, 1.0))),
        (
            {"connections": 2, "rate": "300/h"},
            Limits(2, 1_000_000, Rate(300, 3600.0)),
        ),
    ],
)
def test_relay_with_limits_of_its_own_is_a_site_that_all_workers_share(
    fields: dict[str, Any], limits: Limits | None
) -> None:
    [route] = read_routes(Settings(routes={"a": RELAY | fields}))
    assert route.relay
    site = route.relay.site
    assert (site.name, site.limits, site.shared) == ("a", limits, limits is not None)
    assert route.relay.max_connections == 20
