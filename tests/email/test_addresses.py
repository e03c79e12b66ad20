"""Addresses as people write them."""

from __future__ import annotations

import random

import pytest

from babygun.email import addresses
from babygun.email.addresses import (
    Address,
    comparable,
    needs_smtputf8,
    parse_address,
    parse_sender,
    quote,
    to_ascii_domain,
)
from tests.support.field import rows


def format_address(address: Address) -> str:
    """The address as parse_address reads it."""
    return f"{quote(address.name)} <{address.email}>" if address.name else address.email


@pytest.mark.parametrize(
    ("text", "name", "email"),
    [
        ("a@b.c", "", "a@b.c"),
        ("  a@b.c ", "", "a@b.c"),
        ("<a@b.c>", "", "a@b.c"),
        ("Alice <a@b.c>", "Alice", "a@b.c"),
        ("Alice<a@b.c>", "Alice", "a@b.c"),
        ("Alice Q. Public  < a@b.c >", "Alice Q. Public", "a@b.c"),
        ('"Doe, A" <a@b.c>', "Doe, A", "a@b.c"),
        ('"Doe, A"   <a@b.c>', "Doe, A", "a@b.c"),
        ('"A \\"B\\" \\\\ C" <a@b.c>', 'A "B" \\ C', "a@b.c"),
        ('"Doe" Inc. "X" <a@b.c>', "Doe Inc. X", "a@b.c"),
        ('"" <a@b.c>', "", "a@b.c"),
        ("Support (EU): all <a@b.c>", "Support (EU): all", "a@b.c"),
        ("Zoë Müller <zoe@example.org>", "Zoë Müller", "zoe@example.org"),
        ("山田 太郎 <taro@example.org>", "山田 太郎", "taro@example.org"),
        ("👩‍🚀 <a@b.c>", "👩‍🚀", "a@b.c"),
        ("zoë@example.org", "", "zoë@example.org"),
        ("用户.名@例子.example", "", "用户.名@例子.example"),
        ("a@BÜCHER.Example", "", "a@bücher.example"),
        ("a@ｅｘａｍｐｌｅ．ｏｒｇ", "", "a@example.org"),
        ("a@日本。example", "", "a@日本.example"),
        ("a@xn--bcher-kva.example", "", "a@xn--bcher-kva.example"),
        ("A.b+C@EXAMPLE.Org", "", "A.b+C@example.org"),
        ("!#$%&'*+/=?^_`{|}~-@example.org", "", "!#$%&'*+/=?^_`{|}~-@example.org"),
        ("root@localhost", "", "root@localhost"),
        ("a@1.example", "", "a@1.example"),
        ("a@example.1x", "", "a@example.1x"),
        ('"john doe"@example.org', "", '"john doe"@example.org'),
        ('"john"@example.org', "", "john@example.org"),
        ('"jo\\hn"@example.org', "", "john@example.org"),
        ('"a@b"@example.org', "", '"a@b"@example.org'),
        ('"a\\"\\\\b"@example.org', "", '"a\\"\\\\b"@example.org'),
        ('"..."@example.org', "", '"..."@example.org'),
        ('A <"b>, <c"@example.org>', "A", '"b>, <c"@example.org'),
        ("a@[127.0.0.1]", "", "a@[127.0.0.1]"),
        ("A <a@[IPv6:2001:DB8::0:1]>", "A", "a@[IPv6:2001:db8::1]"),
        ("a@[ipv6:::1]", "", "a@[IPv6:::1]"),
        ("x" * 64 + "@example.org", "", "x" * 64 + "@example.org"),
        ("a@" + "b" * 63 + ".example", "", "a@" + "b" * 63 + ".example"),
        ("a@" + "b." * 125 + "cc", "", "a@" + "b." * 125 + "cc"),
    ],
)
def test_parse_address_valid_gives_name_and_email(text, name, email):
    address = parse_address(text)
    assert address == Address(name, email)
    assert parse_address(format_address(address)) == address


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the address is empty"),
        ("   ", "the address is empty"),
        ("<>", "the address has no @"),
        ("alice", "the address has no @"),
        ("Alice <alice>", "the address has no @"),
        ("@example.org", "nothing before the @"),
        ('""@example.org', "nothing before the @"),
        ("a@", "nothing after the @"),
        ("a@b@c.example", "more than one @"),
        ("a@b.c,d@e.f", "more than one address"),
        ("a@b.c d@e.f", "more than one address"),
        ("A <a@b.c>, B <d@e.f>", "more than one address"),
        ("a@b.c; A <d@e.f>", "more than one address"),
        ('"Doe <a@b.c>', "a quotation mark in the name is not closed"),
        ("a@b.c>", "a > without a <"),
        ("x>", "a > without a <"),
        ("A <a@b.c", "a < without a > at its end"),
        ("<<a@b.c>>", "the local part has < in it"),
        ("a b@example.org", "the local part has a space in it; it must stand in quotation marks"),
        ("a(b)@example.org", "the local part has \\( in it"),
        ("a\u200db@example.org", "the local part has the character U\\+200D in it"),
        ("a\u00a0b@example.org", "the local part has the character U\\+00A0 in it"),
        ('"\u200d"@example.org', "the local part has the character U\\+200D in it"),
        ('"a b@example.org', "is not closed"),
        ('"a b"c@example.org', "not followed by @"),
        ("a@b.c\r\nBcc: d@e.f", "a line break or another control character"),
        ("a@b.c\n", "a line break or another control character"),
        ("A\nB <a@b.c>", "a line break or another control character"),
        ("A\tB <a@b.c>", "a line break or another control character"),
        ("A\u2028B <a@b.c>", "a line break or another control character"),
        ("A\ud800 <a@b.c>", "a line break or another control character"),
        ("a\x00@b.c", "a line break or another control character"),
        ("a\x85@b.c", "a line break or another control character"),
        ("a@.example.org", "begins with a dot"),
        ("a@example..org", "has two in a row"),
        ("a@-example.org", "begins or ends with a hyphen"),
        ("a@example-.org", "begins or ends with a hyphen"),
        ("a@exa_mple.org", "the domain has _ in it"),
        ("a@example org", "the domain has   in it"),
        ("a@1.2.3.4", "an IP address must stand in brackets"),
        ("A <a@1.2.3.4>", "an IP address must stand in brackets"),
        ("a@１.２.３.４", "an IP address must stand in brackets"),
        ("a@☃.example", "the domain is not valid"),
        ("a@" + "ü" * 60 + ".example", "the domain is not valid"),
        ("a@[1.2.3]", "the address literal is not of the form"),
        ("a@[127.0.0.1", "the address literal is not of the form"),
        ("a@[::1]", "the address literal is not of the form"),
        ("a@[IPv6:fe80::1%eth0]", "the address literal is not of the form"),
        ("a@[example.org]", "the address literal is not of the form"),
        ("x" * 65 + "@example.org", "the local part has 65 octets; the most is 64"),
        ("é" * 33 + "@example.org", "the local part has 66 octets; the most is 64"),
        ("A <" + "x" * 65 + "@example.org>", "the local part has 65 octets"),
        ("a@" + "b" * 64 + ".example", "has 64 characters; the most is 63"),
        ("a@" + "b." * 125 + "ccc", "the address has 255 octets; the most is 254"),
        ("x" * 60 + "@" + "bü." * 24 + "example", "octets; the most is 254"),
        ("N" * 501 + " <a@b.c>", "the name has 501 characters; the most is 500"),
        ('"' + "N" * 501 + '" <a@b.c>', "the name has 501 characters"),
    ],
)
def test_parse_address_invalid_says_what_is_wrong(text, message):
    with pytest.raises(ValueError, match=message):
        parse_address(text)


@pytest.mark.parametrize("row", rows("addresses", "taken"), ids=lambda row: row["text"])
def test_address_of_the_field_is_read_as_name_and_email(row):
    address = parse_address(row["text"])
    assert address == Address(row["name"], row["email"])
    assert parse_address(format_address(address)) == address


@pytest.mark.parametrize("row", rows("addresses", "taken"), ids=lambda row: row["text"])
def test_address_of_the_field_is_a_sender_unless_its_dots_are_a_slip(row):
    if row.get("sender") == "refused":
        with pytest.raises(ValueError, match="must stand in quotation marks"):
            parse_sender(row["text"])
    else:
        assert parse_sender(row["text"]) == parse_address(row["text"])


@pytest.mark.parametrize("row", rows("addresses", "refused"), ids=lambda row: row["text"])
def test_address_of_the_field_that_is_none_is_refused_by_its_sentence(row):
    with pytest.raises(ValueError) as refusal:
        parse_address(row["text"])
    assert str(refusal.value) == row["says"]


@pytest.mark.parametrize("row", rows("addresses", "same"), ids=lambda row: row["forms"][0])
def test_comparable_of_all_forms_of_a_mailbox_is_the_same(row):
    assert len({comparable(parse_address(text).email) for text in row["forms"]}) == 1


@pytest.mark.parametrize("row", rows("addresses", "distinct"), ids=lambda row: row["forms"][0])
def test_comparable_of_different_mailboxes_differs(row):
    found = {comparable(parse_address(text).email) for text in row["forms"]}
    assert len(found) == len(row["forms"])


def test_comparable_of_an_at_and_a_domain_is_the_domains():
    assert comparable("@BÜCHER.example") == comparable("@xn--bcher-kva.Example")


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "text",
    [
        "a" * 1_000_000,
        '"\\a' * 300_000,
        "a." * 500_000,
        "a@" + "b." * 500_000,
        "a@" + "ü" * 500_000,
        "@" * 1_000_000,
        "<" * 1_000_000,
        '"a" ' * 250_000 + ">",
        "a@" * 500_000 + "b <a@b.c>",
        "a@b" + " " * 1_000_000 + "( <a@b.c>",
        "a, " * 300_000 + "<a@b.c>",
    ],
)
def test_parse_address_huge_text_is_refused_at_once(text):
    with pytest.raises(ValueError, match="the "):
        parse_address(text)


@pytest.mark.parametrize("seed", range(3))
def test_parse_address_any_text_is_taken_or_refused(seed):
    rng = random.Random(seed)
    taken = 0
    for _ in range(5_000):
        text = "".join(
            rng.choices(
                'abc.@@<>"\\ ,;[]1-_é例\u200d\r\x00',
                weights=[6, 6, 6, 3, 5, 3, 2, 2, 4, 1, 2, 1, 1, 1, 1, 2, 1, 1, 2, 2, 0.1, 0.1, 0.1],
                k=rng.randint(1, 12),
            )
        )
        try:
            address = parse_address(text)
        except ValueError:
            continue
        taken += 1
        assert parse_address(format_address(address)) == address
        assert parse_address(address.email).email == address.email
        assert to_ascii_domain(address.email).rpartition("@")[2].isascii()
    assert taken > 20


@pytest.mark.parametrize(
    ("email", "expected"),
    [
        ("a@b.c", False),
        ("a@bücher.example", False),
        ("zoë@example.org", True),
        ('"é"@example.org', True),
        ("a@[127.0.0.1]", False),
    ],
)
def test_needs_smtputf8_only_for_the_local_part(email, expected):
    assert needs_smtputf8(email) is expected


@pytest.mark.parametrize(
    ("email", "expected"),
    [
        ("a@b.c", "a@b.c"),
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("a@faß.example", "a@xn--fa-hia.example"),
        ("zoë@日本.example", "zoë@xn--wgv71a.example"),
        ("zoë@example.org", "zoë@example.org"),
    ],
)
def test_to_ascii_domain_encodes_the_domain_alone(email, expected):
    assert to_ascii_domain(email) == expected


def test_to_ascii_domain_of_no_domain_raises():
    with pytest.raises(ValueError, match="the domain is not valid"):
        to_ascii_domain("a@☃.example")


def test_parse_address_of_plain_ones_takes_the_quick_way(monkeypatch):
    monkeypatch.delattr(addresses, "_parse")
    for text in ("a@example.org", "Alice <a@example.org>", '"Doe, A" <a@Example.org>'):
        assert parse_address(text).email == "a@example.org"
