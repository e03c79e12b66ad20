"""SPF records as text: what the grammar takes, and what macros become (RFC 7208)."""

from __future__ import annotations

import ipaddress

import pytest

from babygun.domains.spf_record import Address, expand, is_spf, parse

IPV4, IPV6 = ipaddress.ip_address("192.0.2.3"), ipaddress.ip_address("2001:db8::cb01")


@pytest.mark.parametrize("text", ["v=spf1", "v=spf1 -all", "V=SPF1 a", "v=spf1  a"])
def test_record_of_spf_is_known_by_its_version(text: str) -> None:
    assert is_spf(text)


@pytest.mark.parametrize("text", ["v=spf10 -all", " v=spf1 -all", "v=spf1-all", "spf2.0/pra", ""])
def test_other_text_records_are_not_of_spf(text: str) -> None:
    assert not is_spf(text)


def test_terms_keep_their_order_and_say_what_they_mean() -> None:
    record = parse(
        "v=spf1 ip4:192.0.2.0/24 ?ip6:2001:db8::/32 a:a.example/28//64 mx//48 ~include:b.example"
        " +exists:%{i}.c.example ptr -all exp=why.example x-own=%{d}"
    )
    assert [(each.name, each.result) for each in record.terms] == [
        ("ip4", "pass"),
        ("ip6", "neutral"),
        ("a", "pass"),
        ("mx", "pass"),
        ("include", "softfail"),
        ("exists", "pass"),
        ("ptr", "pass"),
        ("all", "fail"),
    ]
    a, mx = record.terms[2:4]
    assert (a.domain, a.prefix4, a.prefix6) == ("a.example", 28, 64)
    assert (mx.domain, mx.prefix4, mx.prefix6) == ("", 32, 48)


def test_redirect_is_read_wherever_it_stands() -> None:
    assert parse("v=spf1 redirect=_spf.example.com a").redirect == "_spf.example.com"


@pytest.mark.parametrize(
    "term",
    [
        "al",
        "all:x.example",
        "ip4:192.0.2.300",
        "ip4:192.0.2.0/33",
        "ip4:2001:db8::1",
        "ip6:192.0.2.1",
        "ip4",
        "include",
        "include:localhost",
        "include:a.example/24",
        "a:a.example/33",
        "a:a.example//129",
        "a:a.example/024",
        "mx:",
        "a:a.123",
        "exists:%{x}.example",
        "exists:%{d.example",
        "exists:%{d}%.example",
        "include:bücher.example",
        "redirect=",
        "redirect=a.example redirect=b.example",
        "v4:192.0.2.1",
        '"ip4:192.0.2.1"',
        f"a:x.{'a' * 60_000}!",
    ],
)
def test_record_with_a_wrong_term_is_refused_as_a_whole(term: str) -> None:
    with pytest.raises(ValueError):
        parse(f"v=spf1 ip4:192.0.2.1 {term} -all")


@pytest.mark.parametrize(
    ("text", "ip", "name"),
    [  # the examples of RFC 7208, 7.4, and the limits
        ("%{s}", IPV4, "strong-bad@email.example.com"),
        ("%{o}", IPV4, "email.example.com"),
        ("%{d}", IPV4, "email.example.com"),
        ("%{d4}", IPV4, "email.example.com"),
        ("%{d3}", IPV4, "email.example.com"),
        ("%{d2}", IPV4, "example.com"),
        ("%{d1}", IPV4, "com"),
        ("%{dr}", IPV4, "com.example.email"),
        ("%{d2r}", IPV4, "example.email"),
        ("%{l}", IPV4, "strong-bad"),
        ("%{l-}", IPV4, "strong.bad"),
        ("%{lr}", IPV4, "strong-bad"),
        ("%{lr-}", IPV4, "bad.strong"),
        ("%{l1r-}", IPV4, "strong"),
        ("%{ir}.%{v}._spf.%{d2}", IPV4, "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", IPV4, "bad.strong.lp._spf.example.com"),
        (
            "%{ir}.%{v}._spf.%{d2}",
            IPV6,
            "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com",
        ),
        ("%%.%_.%-", IPV4, "%. .%20"),
        ("%{S}", IPV4, "strong-bad%40email.example.com"),
        ("%{p}.example", IPV4, "unknown.example"),
        (
            "x" * 63 + "." + ("y" * 62 + ".") * 3 + "a.example.",
            IPV4,
            ("y" * 62 + ".") * 3 + "a.example",
        ),
    ],
)
def test_macros_become_what_the_standard_says(text: str, ip: Address, name: str) -> None:
    sender = "strong-bad@email.example.com"
    assert expand(text, sender=sender, domain="email.example.com", ip=ip) == name
