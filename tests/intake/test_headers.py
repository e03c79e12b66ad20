"""Custom headers: which names and values are taken, and what becomes of them on the wire."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.policy import default
from itertools import chain, pairwise
from typing import Any

import pytest

from babygun.errors import InvalidEmail
from babygun.mime import render
from babygun.mime.header_table import HEADERS, PREFIXES
from tests.intake.requests import broken, checked, fields, refusal
from tests.support.field import rows

FORM = "A header must be of the form Name: value."
NAME = "A header's name has 1 to 76 printable ASCII characters, no space and no colon."
FORBIDDEN_EXAMPLES = """From To cc BCC Sender Reply-To Subject MIME-Version Content-Type
    Content-Transfer-Encoding Received Return-Path DKIM-Signature Resent-To ARC-Seal
    Authentication-Results Delivered-To"""
DATE = datetime(2026, 11, 25, 7, 5, 9, tzinfo=UTC)
ROWS = rows("headers", "row")


def _asked(row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The value that a row of the table asks for, and the field of the request that has it."""
    value = row.get("between", "").join([row["value"]] * row.get("times", 1))
    if row["header"] == "subject":
        return value, {"subject": value}
    if row["header"] == "name":
        return value, {"sender": f'"{value}" <shop@example.com>'}
    return value, {"headers": {row["header"]: value}}


@pytest.mark.parametrize("row", [row for row in ROWS if "refused" in row], ids=lambda r: r["why"])
def test_headers_of_the_table_that_can_not_be_sent_are_refused_with_a_sentence(
    row: dict[str, Any],
) -> None:
    _, asked = _asked(row)
    [(field, detail)] = broken(**asked)
    assert field == f"headers.{row['header']}"
    assert detail.startswith(row["refused"]) and detail.endswith(".")


@pytest.mark.parametrize(
    "row", [row for row in ROWS if "refused" not in row], ids=lambda r: r["why"]
)
@pytest.mark.parametrize("smtputf8", [False, True])
def test_headers_of_the_table_arrive_as_asked(row: dict[str, Any], smtputf8: bool) -> None:
    value, asked = _asked(row)
    raw = render(
        checked(**asked).content, message_id="<x@y>", date=DATE, smtputf8=smtputf8, eight_bit=True
    )
    name = {"name": "From"}.get(row["header"], row["header"])
    field = _field(raw, name)
    if "wire" in row:
        assert field.split("\r\n") == row["wire"]
    lines = field.split("\r\n")
    assert all(len(line) <= 998 and line.strip() for line in lines)
    assert all(len(line) <= 78 or not re.search(r"[ \t]", line[1:]) for line in lines[1:])
    read = field.replace("\r\n", "").partition(":")[2].strip(" \t")
    if row.get("text"):
        assert not _could_be_joined(field)
        read = str(make_header(decode_header(read)))
    else:
        assert "=?" not in read or "=?" in value
    wanted = row.get("reads", value)
    if row["header"] == "name":
        read, wanted = read.removesuffix(" <shop@example.com>"), wanted.strip()
    assert read == wanted
    # The newer parser of Python 3.11 keeps the white space between encoded words and behind the
    # name. It drops comments.
    if not row.get("text") and "=?" not in value and "(" not in value:
        [given] = message_from_bytes(raw, policy=default).get_all(name)
        assert given.lstrip(" ") == wanted


def _field(raw: bytes, name: str) -> str:
    head = raw.partition(b"\r\n\r\n")[0].decode()
    [field] = [
        field
        for field in re.split(r"\r\n(?![ \t])", head)
        if field.lower().startswith(f"{name.lower()}:")
    ]
    return field


def _could_be_joined(field: str) -> bool:
    """Whether two encoded words beside each other would fit into one of 75 columns."""
    words = re.findall(r"=\?utf-8\?[qb]\?[^?]*\?=", field)
    assert all(len(word) <= 75 for word in words)
    return any(
        len(one) + len(other) - len("=?utf-8?q??=") <= 75
        for one, other in pairwise(words)
        if re.search(re.escape(one) + r"\s+" + re.escape(other), field)
    )


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


def test_one_click_goes_with_an_https_link_alone() -> None:
    post = {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    for link in ("<mailto:off@example.com>, <HTTPS://example.com/off>", "<https://example.com/>"):
        headers = {"list-unsubscribe": link} | post
        assert checked(headers=headers).content.headers[-1] == (*post.items(),)[0]
    for link in ("<mailto:off@example.com>", "<http://example.com/off>"):
        [(field, _)] = broken(headers={"List-Unsubscribe": link} | post)
        assert field == "headers.List-Unsubscribe-Post"


def test_header_that_babygun_or_a_mail_server_writes_is_refused_with_what_to_do() -> None:
    reasons = tuple(header.refused for header in (*HEADERS.values(), *PREFIXES.values()))
    for name in FORBIDDEN_EXAMPLES.split():
        [(field, detail)] = broken(headers={name: "x"})
        assert field == f"headers.{name}"
        assert detail.startswith(f"{name} can't be set here: ")
        assert detail[:-1].endswith(tuple(filter(None, reasons)))


@pytest.mark.parametrize("character", ["\r\n", "\n", "\r", "\u2028", "\u0085"])
def test_header_with_a_line_break_is_refused(character: str) -> None:
    value = f"a{character}Bcc: b@example.org"
    for headers in ({"X-A": value}, [f"X-A: {value}"]):
        [(_, detail)] = broken(headers=headers)
        assert detail.startswith("A header's value must not hold line breaks.")


def test_header_whose_name_is_not_valid_is_refused() -> None:
    for name in ("X A", "X:A", "X-Ä", "X-" + "a" * 75):
        assert broken(headers={name: "a"}) == [(f"headers.{name}", NAME)]


def test_header_without_a_name_is_refused() -> None:
    assert broken(headers={"": "a"}) == [("headers.", FORM)]
    assert broken(headers=["X-A a"]) == [("headers[0]", FORM)]


def test_more_headers_than_the_limit_are_refused() -> None:
    assert broken(headers={f"X-{n}": "a" for n in range(101)}) == [
        ("headers", "There are 101 headers; at most 100 are taken.")
    ]


def test_headers_of_more_than_16_kib_are_refused_as_too_large() -> None:
    assert checked(headers={f"X-{n}": "a" * 900 for n in range(18)})
    error = refusal(headers={f"X-{n}": "a" * 900 for n in range(19)})
    assert error.too_large and [v.field for v in error.violations] == ["headers"]


@pytest.mark.parametrize(
    "lines",
    [
        ["Message-ID: <a@b>", "message-id: <c@d>"],
        ["Date: 2026-11-29T00:00:00Z", "DATE: 2026-11-29T00:00:00Z"],
        ["References: <a@b>", "References: <c@d>"],
        ["In-Reply-To: <a@b>", "in-reply-to: <c@d>"],
        ["List-Unsubscribe: <mailto:a@b>", "List-Unsubscribe: <https://c.example>"],
    ],
)
def test_header_that_its_rfc_has_once_can_not_be_given_twice(lines: list[str]) -> None:
    name = lines[1].partition(":")[0]
    assert broken(headers=lines) == [("headers[1]", f"{name} can be given once only.")]


def test_header_with_a_mistake_can_be_given_again_in_the_same_answer() -> None:
    assert fields(headers=["Date: yesterday", "Date: tomorrow"]) == ["headers[0]", "headers[1]"]


def _with_text(text: str) -> Iterator[dict[str, Any]]:
    """A field of the request after another that has this text."""
    for field in ("sender", "to", "cc", "bcc", "reply_to"):
        for address in (f'"a{text}" <a@example.org>', f'"a{text}"@example.org', f"a@b.org{text}"):
            yield {field: address}
    yield {"subject": f"a{text}"}
    for value in (f"a{text}", f"<a@b.org{text}>", f"<https://b.org/{text}>"):
        for name in ("X-A", "References", "List-Unsubscribe"):
            yield {"headers": {name: value}}
    yield {"headers": {f"X-A{text}": "a"}}
    yield {"headers": [f"X-A: a{text}"]}
    for field in ("filename", "content_id", "content_type"):
        kind = f'text/calendar; method="REQUEST{text}"' if field == "content_type" else f"a{text}"
        yield {"attachments": [{"filename": "a", "content": "eA==", field: kind}]}
    yield {"tags": [f"a{text}"], "metadata": {f"a{text}": f"a{text}"}}


# Those at which Python and Unicode break lines; one that ends in such bytes if it is cut to them;
# and codings of it.
LINE_BREAKS = (
    *("\r\n", "\n", "\r", "\r\n\r\n", "\n.\r\n", "\0\n", "\x0b", "\x0c", "\x1c", "\x85"),
    *("\u2028", "\u2029", "\u560d\u560a", "%0d%0a", "=0D=0A", "=?utf-8?q?=0D=0A?="),
)


def test_line_break_in_any_field_adds_no_header() -> None:
    taken = 0
    for changes in chain(*(_with_text(f"{each}X-Injected: yes") for each in LINE_BREAKS)):
        try:
            content = checked(**changes).content
        except InvalidEmail:
            continue
        taken += 1
        raw = render(content, message_id="<x@y>", date=DATE, smtputf8=True, eight_bit=True)
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n", raw), changes
        found = [name for part in message_from_bytes(raw).walk() for name in part]
        assert "X-Injected" not in found, changes
    assert taken > 50
