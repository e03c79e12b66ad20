"""Attachments: their names, types and sizes."""

from __future__ import annotations

import base64
import json
import tomllib
from dataclasses import replace
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest

from babygun.api.http.json_body import JsonBody
from babygun.email.model import Attachment
from babygun.errors import InvalidRequest
from babygun.intake.base64_content import tidy_contents
from babygun.intake.request import EmailRequest, check_request
from babygun.mime import render
from babygun.routing.routes import load_routes
from babygun.runtime.clock import utc_now
from tests.intake.requests import EMAIL, SETTINGS, broken, checked, fields, refusal
from tests.support.paths import ROOT

_DATA = ROOT / "tests/data/field/attachments.toml"
ROWS: list[dict[str, Any]] = tomllib.loads(_DATA.read_text())["row"]


def file(**changes: Any) -> dict[str, Any]:
    return {"filename": "a.txt", "content": base64.b64encode(b"hi").decode()} | changes


def email(row: dict[str, Any]) -> dict[str, Any]:
    """The request of a row."""
    files = []
    for given in row["attachments"]:
        text = given.get("text", "hi")
        rest = {name: value for name, value in given.items() if name != "text"}
        files.append({"content": base64.b64encode(text.encode()).decode()} | rest)
    changes = {name: row[name] for name in ("body", "html") if name in row}
    return EMAIL | changes | {"attachments": files}


def sent(request: dict[str, Any], eight_bit: bool) -> tuple[tuple[Attachment, ...], EmailMessage]:
    """The attachments as accepted, and the message as it arrives."""
    read = JsonBody(EmailRequest, tidy=tidy_contents).decode(json.dumps(request).encode())
    content = check_request(read, load_routes(SETTINGS), SETTINGS).content
    raw = render(content, message_id="<1@example.org>", date=utc_now(), eight_bit=eight_bit)
    assert raw.isascii() or eight_bit
    message = message_from_bytes(raw, policy=default)
    assert isinstance(message, EmailMessage)
    return content.attachments, message


def structure(part: EmailMessage) -> Any:
    if part.get_content_maintype() == "multipart":
        return [part.get_content_type(), [structure(each) for each in part.iter_parts()]]
    return part.get_content_type()


def headers(part: EmailMessage) -> dict[str, str]:
    """The header fields as they are written, unfolded."""
    assert part.defects == [] and not any(value.defects for value in part.values())
    return {name: str(value).replace("\r\n", "") for name, value in part.raw_items()}


def octets(part: EmailMessage) -> bytes:
    if part.get_content_maintype() == "message":
        policy = default.clone(linesep="\r\n", max_line_length=0, utf8=True)
        [inner] = part.iter_parts()
        return inner.as_bytes(policy=policy)
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload


@pytest.mark.parametrize("row", ROWS, ids=[row["about"] for row in ROWS])
def test_attachment_of_the_field_is_sent_right_or_refused_with_the_remedy(
    row: dict[str, Any],
) -> None:
    request = email(row)
    if "refused" in row:
        with pytest.raises(InvalidRequest) as raised:
            sent(request, True)
        found = {v.field.rpartition(".")[2]: v.detail for v in raised.value.violations}
        assert found == row["refused"]
        return
    attachments, message = sent(request, row.get("eight_bit", True))
    parts = [part for part in message.walk() if part.get_content_disposition()]
    for given, part, expected in zip(row["attachments"], parts, row["sent"], strict=True):
        written = headers(part)
        for name, value in expected.items():
            if name == "filename":
                assert part.get_filename() == value
            elif name != "text":
                assert written[name] == value
        assert octets(part).decode() == expected.get("text", given.get("text", "hi"))
    if "structure" in row:
        assert structure(message) == row["structure"]
    invitations = [
        headers(part)["Content-Type"]
        for part in message.walk()
        if part.get_content_type() == "text/calendar" and not part.get_content_disposition()
    ]
    assert invitations == [row[name] for name in row if name == "invitation"]
    assert sum(each.alternative for each in attachments) == len(invitations)


def test_attached_message_with_a_long_line_is_refused() -> None:
    fits, too_long = (b"Subject: x\n\n" + b"a" * length + b"\n" for length in (998, 999))

    def message(content: bytes) -> dict[str, Any]:
        return file(content_type="message/rfc822", content=base64.b64encode(content).decode())

    assert checked(attachments=[message(fits)])
    assert broken(attachments=[message(too_long)]) == [
        (
            "attachments[0].content_type",
            "The attached message has a line of more than 998 bytes, so it can't be sent as "
            "message/rfc822: use application/octet-stream.",
        )
    ]


def test_content_id_that_another_attachment_has_is_refused() -> None:
    files = [file(), file(content_id="<a>"), file(content_id="a"), file(content_id="A")]
    assert broken(attachments=files) == [
        ("attachments[2].content_id", "attachments[1] has the same content id.")
    ]


def test_second_attachment_that_is_to_be_the_invitation_is_refused() -> None:
    calendar = file(
        content_type="text/calendar",
        alternative=True,
        content=base64.b64encode(b"METHOD:REQUEST").decode(),
    )
    assert broken(attachments=[calendar, calendar]) == [
        (
            "attachments[1].alternative",
            "An e-mail can have one invitation only, and another attachment is one already.",
        )
    ]


def test_attachment_fields_that_are_null_count_as_left_out() -> None:
    nothing = dict.fromkeys(("filename", "content_type", "content_id", "alternative"))
    assert checked(attachments=[file(**nothing)]).content.attachments == (
        Attachment("attachment.bin", "application/octet-stream", b"hi"),
    )


def test_every_content_that_is_no_base64_is_named() -> None:
    with pytest.raises(InvalidRequest) as raised:
        tidy_contents({"attachments": [{"content": "!"}, {"content": "aGk"}, {"content": "_"}]})
    assert [v.field for v in raised.value.violations] == [
        "attachments[0].content",
        "attachments[2].content",
    ]


def test_media_type_that_is_too_long_is_refused() -> None:
    assert fields(attachments=[file(content_type="a/b; c=" + "d" * 249)]) == [
        "attachments[0].content_type"
    ]


def test_more_attachments_than_the_limit_are_refused_as_too_large() -> None:
    error = refusal(attachments=[file()] * 101)
    assert error.too_large and str(error) == "There are 101 attachments; at most 100 are taken."


def test_attachments_over_their_size_together_are_refused_as_too_large() -> None:
    settings = replace(SETTINGS, max_attachments=1000)
    large = file(content=base64.b64encode(b"a" * 999).decode())
    assert checked(settings, attachments=[large])
    error = refusal(settings, attachments=[file(), large])
    assert error.too_large and [v.field for v in error.violations] == ["attachments"]
