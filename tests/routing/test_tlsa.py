"""TLSA records: which ones mail can use."""

from __future__ import annotations

import pytest

from babygun.routing.tlsa import Tlsa, usable

SHA256, SHA512 = "ab" * 32, "cd" * 64


@pytest.mark.parametrize(
    ("record", "tlsa"),
    [
        (f"3 1 1 {SHA256}", Tlsa(3, 1, 1, b"\xab" * 32)),
        (f"2 0 2 {SHA512}", Tlsa(2, 0, 2, b"\xcd" * 64)),
        (f"3 0 1 {SHA256[:40]} {SHA256[40:]}", Tlsa(3, 0, 1, b"\xab" * 32)),
        ("3 1 0 3059", Tlsa(3, 1, 0, b"\x30\x59")),
        (f"0 1 1 {SHA256}", None),  # RFC 7672, 3.1.3
        (f"1 1 1 {SHA256}", None),
        (f"4 1 1 {SHA256}", None),
        (f"3 2 1 {SHA256}", None),
        (f"3 1 3 {SHA256}", None),
        (f"3 1 2 {SHA256}", None),
        ("3 1 1 abcd", None),
        ("3 1 0", None),
    ],
)
def test_record_is_usable_or_not(record: str, tlsa: Tlsa | None) -> None:
    assert usable([record]) == ((tlsa,) if tlsa else ())


def test_stronger_digest_of_the_same_thing_counts() -> None:
    given = [f"3 1 1 {SHA256}", f"3 1 2 {SHA512}", f"2 0 1 {SHA256}", "3 1 0 3059"]
    found = usable(given)
    assert [(each.usage, each.selector, each.matching) for each in found] == [
        (3, 1, 2),
        (2, 0, 1),
        (3, 1, 0),
    ]


def test_record_that_stands_there_twice_counts_once() -> None:
    assert len(usable([f"3 1 1 {SHA256}", f"3 1 1 {SHA256.upper()}"])) == 1


def test_text_of_a_record_is_that_of_a_zone() -> None:
    assert str(usable([f"3 1 1 {SHA256}"])[0]) == f"3 1 1 {SHA256}"
