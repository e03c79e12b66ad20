"""What a webhook may be: each refusal names its remedy."""

from __future__ import annotations

import base64
import re
from ipaddress import ip_network

import pytest

from babygun.api.webhooks.rules import parse_event, parse_secret, parse_url
from babygun.errors import sentence

TYPES = ("accepted", "delivered", "deferred", "bounced", "unsubscribed")


def url(text: str, *, allow_http: bool = False, networks: tuple[str, ...] = ()) -> str:
    return parse_url(text, allow_http=allow_http, allowed=[ip_network(n) for n in networks])


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("https://shop.example.com/hooks/mail?key=1", None),
        (" https://shop.example.com \n", "https://shop.example.com"),
        ("HTTPS://Shop.Example.com:8443/", "HTTPS://Shop.Example.com:8443/"),
        ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
        ("https://intranet/hook", None),
        ("https://8.8.8.8/hook", None),
        ("https://[2606:4700::1111]:444/hook", None),
        ("https://my_host.example.com/", None),
        ("https://shop.example.com./", None),
    ],
)
def test_url_of_the_public_internet_is_taken(given: str, stored: str | None) -> None:
    assert url(given) == (stored or given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "https://"),
        ("shop.example.com", "begin with https://"),
        ("ftp://shop.example.com/", "begin with https://"),
        ("http://shop.example.com/", "webhook_allow_http"),
        ("https://", "no name of a host"),
        ("https:///path", "no name of a host"),
        ("https://a..example/", "no name of a host"),
        ("https://exa$mple.com/", "no name of a host"),
        ("https://" + "a" * 64 + ".example/", "no name of a host"),
        ("https://user:secret@shop.example.com/", "leave them out"),
        ("https://user@shop.example.com/", "leave them out"),
        ("https://@shop.example.com/", "leave them out"),
        ("https://shop.example.com/#top", "leave out the #"),
        ("https://shop.example.com/#", "leave out the #"),
        ("https://shop.example.com:0/", "from 1 to 65535"),
        ("https://shop.example.com:70000/", "can't be read"),
        ("https://shop.example.com:x/", "can't be read"),
        ("https://[::1/", "can't be read"),
        ("https://[example.com]/", "can't be read"),
        ("https://shop.example.com/a b", "percent-encode"),
        ("https://shop.example.com\\@evil.example/", "percent-encode"),
        ("https://shop.example.com/a\tb", "percent-encode"),
        ("https://shop.example.com/" + "a" * 2048, "at most 2048"),
        ("https://\u2488example.com/", "can't be read"),
    ],
)
def test_url_that_breaks_a_rule_is_refused_with_the_remedy(given: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        url(given)
    assert sentence(refused.value).endswith(".")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1.2.3",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "198.18.0.1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:10.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "localhost",
        "LOCALHOST.",
        "mail.localhost",
    ],
)
def test_host_that_is_an_address_of_our_own_networks_is_refused_at_once(host: str) -> None:
    with pytest.raises(ValueError, match="webhook_allow_networks"):
        url(f"https://{host}:8443/")


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "1.2.3.4.5"])
def test_host_that_some_take_for_an_address_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="write four numbers"):
        url(f"https://{host}/")


def test_settings_allow_http_and_networks() -> None:
    mine = ("127.0.0.0/8", "10.1.0.0/16")
    for good in ("http://127.0.0.1:8000/", "http://localhost:8000/", "https://10.1.2.3/"):
        assert url(good, allow_http=True, networks=mine) == good
    with pytest.raises(ValueError, match=r"10\.2\.0\.1 is not on the public Internet"):
        url("https://10.2.0.1/", networks=mine)


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("deliverd", "delivered"),
        ("email.bounced", "bounced"),
        ("Bounce", "bounced"),
        ("unsubscribe", "unsubscribed"),
    ],
)
def test_unknown_event_type_is_refused_with_the_nearest_one(given: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean {near}\\?"):
        parse_event(given, TYPES)


def test_event_types_are_taken_by_name_or_all_at_once() -> None:
    assert [parse_event(name, TYPES) for name in (*TYPES, "*")] == [*TYPES, "*"]
    with pytest.raises(ValueError, match="The types are accepted, ") as refused:
        parse_event("zzz\x1b[31m" * 20, TYPES)
    assert "did you mean" not in str(refused.value) and str(refused.value).isprintable()


def test_secret_of_the_client_is_taken_in_the_form_of_standard_webhooks() -> None:
    for size in (24, 32, 64):
        secret = "whsec_" + base64.b64encode(bytes(size)).decode()
        assert parse_secret(secret) == secret
    good = base64.b64encode(bytes(32)).decode()
    for bad, said in (
        (good, "does not begin with whsec_"),
        ("whsec_", "0 bytes"),
        ("whsec_" + base64.b64encode(bytes(23)).decode(), "23 bytes"),
        ("whsec_" + base64.b64encode(bytes(65)).decode(), "65 bytes"),
        ("whsec_" + good.rstrip("="), "no base64"),
        ("whsec_" + good + "\n", "no base64"),
        ("whsec_" + "ä" * 32, "no base64"),
    ):
        with pytest.raises(ValueError, match="24 to 64 random bytes") as refused:
            parse_secret(bad)
        assert said in str(refused.value)
