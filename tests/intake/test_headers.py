"""Custom headers: which names and values are taken."""

from __future__ import annotations

import pytest

from babygun.intake.headers import FORBIDDEN
from tests.intake.requests import broken, checked, fields, refusal

FORM = "A header must be of the form Name: value."
NAME = "A header's name has 1 to 76 printable ASCII characters, no space and no colon."
FORBIDDEN_EXAMPLES = """From To cc BCC Sender Reply-To Subject MIME-Version Content-Type
    Content-Transfer-Encoding Received Return-Path DKIM-Signature Resent-To ARC-Seal
    Authentication-Results Delivered-To"""


def test_headers_of_both_forms_keep_their_order() -> None:
    assert checked(headers={"X-B": " 1 ", "X-A": "2"}).content.headers == (
        ("X-B", "1"),
        ("X-A", "2"),
    )
    lines = ["X-A: 1", "X-A: 2", "List-Id:x", "Message-ID: <1@example.com>", "X-Empty \t:"]
    assert checked(headers=lines).content.headers == (
        ("X-A", "1"),
        ("X-A", "2"),
        ("List-Id", "x"),
        ("Message-ID", "<1@example.com>"),
        ("X-Empty", ""),
    )


def test_header_that_babygun_or_a_mail_server_writes_is_refused_with_what_to_do() -> None:
    for name in FORBIDDEN_EXAMPLES.split():
        [(field, detail)] = broken(headers={name: "x"})
        assert field == f"headers.{name}"
        assert detail.startswith(f"{name} can't be set here: ")
        assert detail[:-1].endswith(tuple(FORBIDDEN.values()))


@pytest.mark.parametrize("character", ["\r\n", "\n", "\r", "\u2028", "\u0085"])
def test_header_with_a_line_break_is_refused(character: str) -> None:
    value = f"a{character}Bcc: b@example.org"
    detail = "A header's value must not hold line breaks."
    assert broken(headers={"X-A": value}) == [("headers.X-A", detail)]
    assert broken(headers=[f"X-A: {value}"]) == [("headers[0]", detail)]


def test_header_with_a_control_character_is_refused() -> None:
    assert broken(headers={"X-A": "a\0b"}) == [
        ("headers.X-A", "A header's value must not hold control characters.")
    ]


def test_header_whose_name_is_not_valid_is_refused() -> None:
    for name in ("X A", "X:A", "X-Ä", "X-" + "a" * 75):
        assert broken(headers={name: "a"}) == [(f"headers.{name}", NAME)]


def test_header_without_a_name_is_refused() -> None:
    assert broken(headers={"": "a"}) == [("headers.", FORM)]
    assert broken(headers=["X-A a"]) == [("headers[0]", FORM)]


def test_header_longer_than_a_line_is_refused() -> None:
    assert checked(headers={"X-A": "a" * 993})
    detail = "A header must not be longer than 998 bytes."
    assert broken(headers={"X-A": "a" * 994}) == [("headers.X-A", detail)]
    assert broken(headers={"X-A": "ä" * 497}) == [("headers.X-A", detail)]


def test_more_headers_than_the_limit_are_refused() -> None:
    assert broken(headers={f"X-{n}": "a" for n in range(101)}) == [
        ("headers", "There are 101 headers; at most 100 are taken.")
    ]


def test_headers_of_more_than_64_kib_are_refused_as_too_large() -> None:
    error = refusal(headers={f"X-{n}": "a" * 900 for n in range(80)})
    assert error.too_large and [v.field for v in error.violations] == ["headers"]


def test_header_that_rfc_5322_has_once_can_not_be_given_twice() -> None:
    assert broken(headers=["Message-ID: <a@b>", "message-id: <c@d>"]) == [
        ("headers[1]", "message-id can be given once only.")
    ]


def test_message_id_of_no_form_is_refused() -> None:
    assert fields(headers={"Message-ID": "a"}) == ["headers.Message-ID"]
