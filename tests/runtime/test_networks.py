"""IP addresses as text."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from babygun.runtime.networks import is_in, network_of, normal_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:443", "192.0.2.7"),
        ("2001:DB8:0::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unknown", ""),
        ("_hidden", ""),
        ("192.0.2.07", ""),
        ("1", ""),
        ("", ""),
        ("[", ""),
    ],
)
def test_address_is_read_in_its_usual_forms(text: str, address: str) -> None:
    assert normal_address(text) == address


def test_address_is_in_the_networks_of_its_own_kind() -> None:
    networks = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))
    assert is_in(networks, "10.1.2.3") and is_in(networks, "2001:db8::1")
    assert not is_in(networks, "192.0.2.7")
    assert not is_in(networks, "nonsense") and not is_in(networks, "") and not is_in((), "10.0.0.1")


def test_limit_counts_an_ipv6_network_as_one() -> None:
    assert network_of("192.0.2.7") == network_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert (
        network_of("2001:db8:0:1::7") == network_of("2001:db8:0:1:ffff::1") == "2001:db8:0:1::/64"
    )
    assert network_of("2001:db8:0:2::7") != network_of("2001:db8:0:1::7")
    assert network_of("fe80::1%eth0") == "fe80::/64"
