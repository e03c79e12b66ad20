"""A webhook's address: what its URL means, and where a connection may go."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from babygun.dns import Resolver
from babygun.routing import host_addresses
from babygun.webhooks.endpoint import Endpoint, Unreachable, addresses, parse_endpoint
from tests.support.dns_servers import serving
from tests.support.processes import PATIENCE, no_more_descriptors

ZONE = """\
inside      A 10.0.0.1
metadata    A 169.254.169.254
mixed       A 127.0.0.1
mixed       A 8.8.8.8
alias       CNAME inside
outside     A 8.8.8.8
six         AAAA ::ffff:127.0.0.1
"""


@pytest.mark.parametrize(
    ("url", "wanted", "authority"),
    [
        ("https://a.example", Endpoint(True, "a.example", 443, "/"), "a.example"),
        ("https://a.example:8443/x?y=1", Endpoint(True, "a.example", 8443, "/x?y=1"), None),
        ("https://A.Example/", Endpoint(True, "a.example", 443, "/"), "a.example"),
        ("http://a.example:80/h", Endpoint(False, "a.example", 80, "/h"), "a.example"),
        ("https://bücher.example/", Endpoint(True, "xn--bcher-kva.example", 443, "/"), None),
        ("https://[2001:db8::1]:444/", Endpoint(True, "2001:db8::1", 444, "/"), None),
    ],
)
def test_url_is_taken_apart(url: str, wanted: Endpoint, authority: str | None) -> None:
    found = parse_endpoint(url, allow_http=True)
    assert found == wanted
    assert found.authority == (authority or found.authority)


def test_authority_of_an_ipv6_address_has_brackets() -> None:
    assert parse_endpoint("https://[2001:db8::1]:444/", allow_http=False).authority == (
        "[2001:db8::1]:444"
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example/",
        "ftp://a.example/",
        "https:///x",
        "https://a.example:99999/",
        "https://a.example/a b",
        "https://a.example/a\r\nX: y",
        "https://a.example/ü",
        "https://[::1/",
        "https://a b.example/",
        "https://a<b>.example/",
        "",
    ],
)
def test_url_that_nothing_may_be_sent_to_is_refused(url: str) -> None:
    with pytest.raises(Unreachable):
        endpoint = parse_endpoint(url, allow_http=False)
        assert "\n" not in endpoint.target
        raise Unreachable  # urlsplit takes line breaks out


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "10.1.2.3", "169.254.169.254", "[::1]", "[fe80::1]", "[::ffff:127.0.0.1]"),
        *("[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]", "0.0.0.0", "localhost"),
        *("api.localhost", "LOCALHOST", "localhost.", "168.63.129.16", "100.100.100.200"),
    ],
)
async def test_address_of_our_own_network_is_refused(host: str) -> None:
    endpoint = parse_endpoint(f"https://{host}/", allow_http=False)
    with pytest.raises(Unreachable, match="not public"):
        await addresses(endpoint, Resolver(["127.0.0.1@1"]), ())


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1"])
async def test_number_that_the_system_would_take_for_an_address_is_only_a_name(host: str) -> None:
    endpoint = parse_endpoint(f"https://{host}/", allow_http=False)
    with pytest.raises(Unreachable):
        await addresses(endpoint, Resolver(["127.0.0.1@1"], timeout=0.1), ())


async def test_address_of_an_allowed_network_may_be_called() -> None:
    allowed = (ip_network("127.0.0.0/8"),)
    for host in ("127.0.0.1", "localhost"):
        endpoint = parse_endpoint(f"https://{host}/", allow_http=False)
        found = await addresses(endpoint, Resolver(["127.0.0.1@1"]), allowed)
        assert [str(each) for each in found] == ["127.0.0.1"]


async def test_names_lead_to_public_addresses_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_addresses, "ipv6_leads_out", lambda: True)
    async with serving({"example": ZONE}) as server:
        resolver = Resolver([server], timeout=PATIENCE)
        for name in ("inside", "metadata", "alias", "six"):
            endpoint = parse_endpoint(f"https://{name}.example/", allow_http=False)
            with pytest.raises(Unreachable, match="not public"):
                await addresses(endpoint, resolver, ())
        for name in ("mixed", "outside"):
            endpoint = parse_endpoint(f"https://{name}.example/", allow_http=False)
            found = await addresses(endpoint, resolver, ())
            assert [str(each) for each in found] == ["8.8.8.8"]
        missing = parse_endpoint("https://missing.example/", allow_http=False)
        with pytest.raises(Unreachable, match="no address"):
            await addresses(missing, resolver, ())


@pytest.mark.parametrize("host", ["inside.example", "8.8.8.8"])
async def test_process_without_descriptors_reaches_no_webhook_and_says_why(host: str) -> None:
    resolver = Resolver(["127.0.0.1@1"])
    endpoint = parse_endpoint(f"https://{host}/", allow_http=False)
    with no_more_descriptors(), pytest.raises(Unreachable, match="Too many open files"):
        await addresses(endpoint, resolver, ())
