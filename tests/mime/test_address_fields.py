"""Addresses in the fields of the header, read back with the standard library's parsers."""

from __future__ import annotations

from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import default
from email.utils import getaddresses
from typing import Any

import pytest

from babygun.email.addresses import to_ascii_domain
from babygun.mime.headers import address_field
from tests.support.field import rows

ZOE = "Zoë Lee <zoë@bücher.example>"
REMOVED = "=?utf-8?b?em/Dq0Biw7xjaGVyLmV4YW1wbGU=?= Removed:;"


def unfolded(name: str, *texts: str, smtputf8: bool = False) -> str:
    """The field's value, unfolded."""
    return address_field(name, texts, smtputf8).partition(": ")[2].replace("\r\n", "")


def read(field: str) -> EmailMessage:
    message = message_from_bytes(f"{field}\r\n\r\n".encode(), policy=default)
    assert isinstance(message, EmailMessage)
    assert all(value.defects == () for value in message.values())
    return message


def decoded(text: str) -> str:
    """By the older reader: in Python 3.11 the newer one keeps the space between encoded words."""
    return str(make_header(decode_header(text)))


@pytest.mark.parametrize("row", rows("addresses", "taken"), ids=lambda row: row["text"])
def test_address_of_the_field_is_written_as_its_row_says(row: dict[str, Any]) -> None:
    assert unfolded("To", row["text"]) == row.get("header", row["text"])


@pytest.mark.parametrize("row", rows("addresses", "taken"), ids=lambda row: row["text"])
def test_address_of_the_field_is_read_by_strict_parsers(row: dict[str, Any]) -> None:
    texts = (row["text"], "Bob <bob@example.com>")
    email = to_ascii_domain(row["email"])
    found = getaddresses([unfolded("To", *texts)])
    if not email.endswith("]"):  # the standard library's old reader knows no address literals
        (written, first), second = found
        assert (decoded(written), first) == (row["name"], email)
        assert second == ("Bob", "bob@example.com")
    mailbox, other = read(address_field("To", texts, False))["To"].addresses
    local, _, domain = email.rpartition("@")
    # The new reader takes the quotation marks off.
    assert mailbox.username == (local[1:-1] if local.startswith('"') else local)
    assert (mailbox.display_name, mailbox.domain) == (row["name"], domain)
    assert other.addr_spec == "bob@example.com"


@pytest.mark.parametrize(
    ("texts", "written"),
    [
        ((ZOE,), f"=?utf-8?q?Zo=C3=AB_Lee?= Internationalized Address {REMOVED}"),
        (("zoë@bücher.example",), f"Internationalized Address {REMOVED}"),
        (
            ("a@example.org", ZOE, "Bob <b@example.org>"),
            "a@example.org, =?utf-8?q?Zo=C3=AB_Lee?= Internationalized Address "
            f"{REMOVED}, Bob <b@example.org>",
        ),
        (
            ('"Lee, Z." <zoë@bücher.example>', "a@example.org"),
            f'"Lee, Z." Internationalized Address {REMOVED}, a@example.org',
        ),
    ],
)
@pytest.mark.parametrize("name", ["To", "Cc", "Reply-To"])
def test_utf8_local_part_without_smtputf8_is_an_empty_group_that_names_it(
    name: str, texts: tuple[str, ...], written: str
) -> None:
    assert unfolded(name, *texts) == written
    header = read(address_field(name, texts, False))[name]
    assert [a.addr_spec for a in header.addresses] == [
        text.rpartition("<")[2].rstrip(">") for text in texts if text.isascii()
    ]
    names = [group.display_name for group in header.groups if not group.addresses]
    assert len(names) == 1 and "zoë@bücher.example" in names[0]
    found = [email for _, email in getaddresses([unfolded(name, *texts)]) if email]
    assert found == [a.addr_spec for a in header.addresses]


def test_utf8_local_part_with_smtputf8_is_written() -> None:
    assert unfolded("To", ZOE, smtputf8=True) == "=?utf-8?q?Zo=C3=AB_Lee?= <zoë@bücher.example>"


def test_utf8_local_part_of_any_length_is_folded() -> None:
    text = f"{'ü' * 250} <{'é' * 32}@{'ü' * 30}.example>"
    field = address_field("To", (text,), False)
    assert max(map(len, field.split("\r\n"))) <= 76
    (group,) = read(field)["To"].groups
    assert group.display_name and not group.addresses
    assert f"{'é' * 32}@{'ü' * 30}.example Removed:;" in decoded(unfolded("To", text))


@pytest.mark.parametrize("name", ["From", "Sender"])
def test_utf8_local_part_without_smtputf8_is_refused_where_an_address_must_be(name: str) -> None:
    with pytest.raises(ValueError, match="only be written where the server offers SMTPUTF8"):
        address_field(name, (ZOE,), False)
