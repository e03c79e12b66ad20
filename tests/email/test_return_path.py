"""Return paths: made, read, and refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babygun.email import return_path
from babygun.email.addresses import parse_address
from babygun.email.ids import email_id
from babygun.email.return_path import local_part, of_queue, of_recipient, read

SECRET, OTHER = b"s" * 32, b"o" * 32
ID = email_id(1_764_000_000_123_456_789, "0123456789abcdef")
MADE = local_part(of_recipient(ID, "ann@example.org", 0, "shop:1"), SECRET)


@given(
    now=st.integers(0, 2**60),
    random=st.integers(0, 2**64 - 1),
    retried=st.integers(0, 1000),
    of_all=st.booleans(),
)
def test_return_path_that_is_made_is_read_whatever_the_case(
    now: int, random: int, retried: int, of_all: bool
) -> None:
    id = email_id(now, f"{random:016x}")
    if of_all:
        path = of_queue(id, "mx:example.org", retried, "shop:1")
    else:
        path = of_recipient(id, "ann@example.org", retried, "shop:1")
    made = local_part(path, SECRET)
    assert len(made) == 64 and made.startswith("bounces+")
    assert read(made, [OTHER, SECRET]) == read(made.upper(), [SECRET]) == path
    assert return_path.is_of_generation(path, retried)
    assert not return_path.is_of_generation(path, retried + 1)


def test_return_path_is_an_address_that_mail_servers_take() -> None:
    address = f"{MADE}@bounces.example.com"
    assert parse_address(address).email == address


def test_spellings_of_an_address_have_the_same_return_path() -> None:
    assert of_recipient(ID, "Ann@EXAMPLE.org", 0, "shop:1") == of_recipient(
        ID, "ann@example.org", 0, "shop:1"
    )


@pytest.mark.parametrize("place", range(8, 64))
def test_return_path_with_one_letter_changed_is_not_ours(place: int) -> None:
    letter = "a" if MADE[place] != "a" else "b"
    forged = MADE[:place] + letter + MADE[place + 1 :]
    assert read(forged, [SECRET]) is None


@pytest.mark.parametrize(
    "text",
    ["", "bounces", "bounces+", MADE[:-1], f"{MADE}a", f" {MADE}", f"{MADE}\n", "ann", MADE + "\0"],
)
def test_other_local_part_is_not_ours(text: str) -> None:
    assert read(text, [SECRET]) is None


@given(st.text(max_size=80))
def test_any_text_is_read_without_a_crash(text: str) -> None:
    assert read(text, [SECRET]) is None


def test_return_path_whose_key_is_gone_is_not_ours() -> None:
    assert read(MADE, [OTHER]) is None and read(MADE, []) is None


def test_client_that_is_made_again_under_its_id_has_other_return_paths() -> None:
    one, two = (of_recipient(ID, "ann@example.org", 0, f"shop:{n}") for n in (1, 2))
    assert one.client != two.client and one.recipient == two.recipient
