"""Routes: the queue of a recipient, the destination of a queue, and how they scale."""

from __future__ import annotations

from pathlib import Path

import pytest

from babygun.email.retry import Schedule
from babygun.errors import SettingsError
from babygun.routing.destination import NoDestination, to_relay
from babygun.routing.route_settings import Route
from babygun.routing.routes import MOST_FINGERPRINTS, Routes, load_routes, sends
from babygun.routing.server import Server
from babygun.runtime.settings import Settings


def many_routes(count: int) -> Routes:
    """So many relays, one for each domain, and one that takes the rest."""

    def relay(name: str, host: str, domain: str) -> Route:
        return Route(name, (domain,), Schedule(()), to_relay(name, Server(host, 25)))

    own = (relay(f"q{n}", f"h{n}.example", f"d{n}.example") for n in range(count))
    return Routes([*own, relay("rest", "rest.example", "*")])


def test_default_relay_comes_last_and_domains_match_in_any_case() -> None:
    relays = {"a": {"url": "smtp://127.0.0.1:26", "domains": ["a.example"]}}
    routes = load_routes(Settings(relays=relays, relay_url="smtp://127.0.0.1:25"))
    assert list(routes.destinations) == ["a", "default"]
    assert routes.queue_for("x@A.example") == "a" and routes.queue_for("x@b.example") == "default"


def test_routes_take_the_first_match_and_patterns() -> None:
    relays = {
        "one": {"url": "smtp://a", "domains": ["*.example.org"]},
        "two": {"url": "smtp://b", "domains": ["x.example.org", "example.net"]},
    }
    routes = load_routes(Settings(relays=relays))
    assert (
        routes.queue_for("u@x.example.org") == "one" and routes.queue_for("u@example.net") == "two"
    )
    with pytest.raises(SettingsError, match=r"no route takes mail for example\.com"):
        routes.queue_for("u@example.com")


def test_routes_compare_domains_in_ascii_in_whatever_form_they_are_written() -> None:
    relays = {
        "one": {"url": "smtp://a", "domains": ["BÜCHER.example", "*.faß.example."]},
        "two": {"url": "smtp://b", "domains": ["xn--fsqu00a.example"]},
    }
    routes = load_routes(Settings(relays=relays))
    assert routes.queue_for("u@bücher.example") == routes.queue_for("u@XN--bcher-kva.example")
    assert routes.queue_for("u@x.xn--fa-hia.example") == "one"
    assert routes.queue_for("u@例子.example") == "two"
    with pytest.raises(SettingsError, match=r"no route takes mail for büro\.example"):
        routes.queue_for("u@büro.example")


def test_domain_named_before_a_pattern_that_matches_it_is_taken_by_its_own_relay() -> None:
    relays = {
        "one": {"url": "smtp://a", "domains": ["x.example.org"]},
        "two": {"url": "smtp://b", "domains": ["*.example.org", "x.example.org"]},
    }
    routes = load_routes(Settings(relays=relays))
    assert routes.queue_for("u@x.example.org") == "one"
    assert routes.queue_for("u@y.example.org") == "two"


async def test_queue_without_a_destination_says_so() -> None:
    routes = load_routes(Settings(relay_url="smtp://mail.example"))
    assert (await routes.destination("default")).endpoint == "mail.example:25"
    assert routes.max_connections("default") == 20 and routes.max_connections("gone") == 0
    with pytest.raises(NoDestination, match="no relay called gone is configured here"):
        await routes.destination("gone")


def test_routes_have_destinations_if_there_is_a_relay() -> None:
    assert load_routes(Settings(relay_url="smtp://mail.example")).has_destinations
    assert not load_routes(Settings()).has_destinations


async def test_routes_of_20_000_queues_compare_a_domain_with_the_patterns_only() -> None:
    routes = many_routes(20_000)
    assert len(routes._patterns) == 1
    assert routes.queue_for("x@d19999.example") == "q19999"
    assert routes.queue_for("x@elsewhere.example") == "rest"
    assert (await routes.destination("q19999")).endpoint == "h19999.example:25"


def test_fingerprints_are_bounded_so_that_a_workers_key_fits_a_request() -> None:
    assert len(many_routes(MOST_FINGERPRINTS - 1).fingerprints()) == MOST_FINGERPRINTS
    assert many_routes(MOST_FINGERPRINTS).fingerprints() == {}


def test_fingerprint_distinguishes_servers_and_reveals_nothing_of_them() -> None:
    def of(url: str) -> str:
        return load_routes(Settings(relay_url=url)).fingerprints()["default"]

    assert (
        of("smtp://user:secret@Mail.example.net:587")
        == of("smtp://mail.example.net:587?".rstrip("?"))
        != of("smtp://mail.example.net:25")
    )
    assert sends({"default": of("smtp://a")}, "default")
    assert not sends({"default": of("smtp://a")}, "other")
    assert len(of("smtp://a")) == 8 and "mail" not in of("smtp://mail.example.net")


def test_domain_that_no_relay_takes_is_a_queue_of_its_own() -> None:
    routes = {
        "inside": {"url": "smtp://a", "domains": ["*.inside.example"]},
        "world": {"mx": True, "domains": ["*.example"], "retry_intervals": "1m"},
        "rest": {"mx": True},
    }
    found = load_routes(Settings(routes=routes))
    assert found.queue_for("u@x.inside.example") == "inside"
    assert found.queue_for("u@BÜCHER.example") == "mx:xn--bcher-kva.example"
    assert found.queue_for("u@example.org") == "mx:example.org"
    assert len(found.schedule("mx:bücher.example").intervals) == 1
    assert len(found.schedule("mx:example.org").intervals) > 1
    # The settings have changed: a relay takes the domain by now, and jobs of its queue are left.
    assert len(found.schedule("mx:x.inside.example").intervals) == 1
    assert found.to_mx and found.has_destinations and list(found.destinations) == ["inside"]


@pytest.mark.parametrize("literal", ["[192.0.2.1]", "[IPv6:2001:db8::1]"])
def test_address_literal_goes_by_a_relay_only(literal: str) -> None:
    with pytest.raises(SettingsError, match="an address literal such as"):
        load_routes(Settings(default="mx")).queue_for(f"u@{literal}")
    assert load_routes(Settings(relay_url="smtp://a")).queue_for(f"u@{literal}") == "default"


async def test_queue_of_a_domain_without_an_mx_route_has_no_destination() -> None:
    routes = load_routes(Settings(relay_url="smtp://a"))
    # One site, and one label: a hold and a metric for each domain would have no bound.
    sites = {routes.known_site(f"mx:d{number}.example") for number in range(3)}
    assert [site and site.name for site in sites] == ["mx:no-route"]
    assert routes.label("mx:d1.example") == "mx:no-route"
    with pytest.raises(NoDestination, match="no route here sends mail to MX hosts"):
        await routes.destination("mx:example.org")


def test_site_of_a_relay_is_known_and_so_is_that_of_a_queue_without_a_destination() -> None:
    routes = load_routes(Settings(relay_url="smtp://a"))
    for queue in ("default", "gone"):
        site = routes.known_site(queue)
        assert site and (site.name, site.limits, site.shared) == (queue, None, False)
    assert load_routes(Settings(default="mx")).known_site("mx:example.org") is None


def test_process_with_an_mx_route_sends_every_queue_of_a_domain() -> None:
    routes = load_routes(Settings(routes={"a": {"url": "smtp://a", "domains": "a"}}, default="mx"))
    prints = routes.fingerprints()
    assert list(prints) == ["a", "mx:"]
    assert sends(prints, "mx:example.org") and sends(prints, "a") and not sends(prints, "b")
    other = load_routes(Settings(default="mx", mx_port=2525)).fingerprints()
    assert other["mx:"] != prints["mx:"]
    assert not sends(load_routes(Settings(relay_url="smtp://a")).fingerprints(), "mx:example.org")


def test_providers_file_with_a_mistake_is_refused_at_the_start(tmp_path: Path) -> None:
    own = tmp_path / "providers.toml"
    own.write_text("[gmail]\n")
    with pytest.raises(SettingsError, match=r"providers: .*: gmail: .*`mx`"):
        load_routes(Settings(default="mx", providers=str(own)))
    with pytest.raises(SettingsError, match="providers: /nowhere"):
        load_routes(Settings(default="mx", providers="/nowhere"))
    with pytest.raises(SettingsError, match="providers: /nowhere"):
        load_routes(Settings(relay_url="smtp://mail.example", providers="/nowhere"))


@pytest.mark.parametrize("text", [None, "no certificate"], ids=["missing", "rubbish"])
def test_ca_file_that_cannot_be_used_is_refused_by_the_machine_that_sends(
    tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    relay = {"url": "smtp://mail.example", "tls": "required", "tls_ca": str(file)}
    routes = load_routes(Settings(routes={"a": relay}))
    with pytest.raises(SettingsError, match=f"tls_ca of route a: {file}: "):
        routes.require_machine()
