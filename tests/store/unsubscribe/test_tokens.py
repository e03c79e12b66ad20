"""The tokens of links to unsubscribe."""

from __future__ import annotations

import base64
import os
import random

import pytest

from babygun.store.unsubscribe.tokens import LONGEST, Subscription, make_token, read_token

KID, SECRET = "0a1b2c3d", bytes(range(64))
SHOP = "4a1f6f0e9d3b5c77:9f2c4e1a0b3d"


def made(client: str = SHOP, name: str = "news", address: str = "ann@example.org") -> str:
    return make_token(KID, SECRET, client, name, address)


def read(token: str) -> Subscription | None:
    return read_token(token, {KID: SECRET}.get)


@pytest.mark.parametrize(
    ("address", "compared"),
    [
        ("ann@example.org", "ann@example.org"),
        ("Ann@EXAMPLE.org", "ann@example.org"),
        ("jürgen@bücher.example", "jürgen@xn--bcher-kva.example"),
        ('"a\\b c"@example.org', '"a\\b c"@example.org'),
    ],
)
def test_token_read_again_is_client_list_and_address_as_it_is_compared(
    address: str, compared: str
) -> None:
    assert read(made(address=address)) == (SHOP, "news", compared)
    assert read(made(name="*", address=address)) == (SHOP, "*", compared)


def test_token_made_again_is_the_same_and_another_recipients_is_another() -> None:
    assert made() == made()
    others = {made(address="bob@example.org"), made(name="*"), made(client="shop:1"), made()}
    assert len(others) == 4


def test_token_shows_nothing_of_what_is_in_it() -> None:
    raw = base64.urlsafe_b64decode(made() + "==")
    for word in (b"ann", b"example", b"news", SHOP.encode()[:8]):
        assert word not in raw


def test_usual_token_is_short_and_the_longest_is_within_the_bound_of_reading() -> None:
    assert len(made()) <= 100
    assert set(made()) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    # İ becomes longer in lower case.
    for local in ("a" * 64, "İ" * 32):
        longest = made("c" * 64 + ":9f2c4e1a0b3d", "l" * 64, f"{local}@{'d' * 185}.org")
        assert len(longest) <= LONGEST
        assert read(longest) is not None


def test_token_with_any_byte_changed_or_cut_off_is_not_ours() -> None:
    token = made()
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= 1 << place % 8
        assert read(base64.urlsafe_b64encode(changed).decode().rstrip("=")) is None
    for length in range(len(token)):
        assert read(token[:length]) is None


@pytest.mark.parametrize(
    "text",
    ["", "x", "\n", "a" * 100, "A" * LONGEST, "A" * (LONGEST + 1), "é" * 50, "AQ==", "../../x"],
)
def test_text_that_is_no_token_is_none(text: str) -> None:
    assert read(text) is None
    assert read(made() + text) is None or not text


def test_random_texts_are_no_tokens() -> None:
    chance = random.Random(25)
    for _ in range(500):
        raw = bytes([1]) + bytes.fromhex(KID) + chance.randbytes(chance.randrange(100))
        assert read(base64.urlsafe_b64encode(raw).decode().rstrip("=")) is None


def test_token_under_another_secret_or_a_key_that_is_gone_is_none() -> None:
    assert read_token(made(), {KID: os.urandom(64)}.get) is None
    assert read_token(made(), {}.get) is None
