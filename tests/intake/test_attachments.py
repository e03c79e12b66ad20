"""Attachments: their names, types and sizes."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

from babygun.email.model import Attachment
from tests.intake.requests import SETTINGS, broken, checked, fields, refusal


def file(**changes: Any) -> dict[str, Any]:
    return {"filename": "a.txt", "content": base64.b64encode(b"hi").decode()} | changes


def test_attachment_is_taken_as_given() -> None:
    given = file(filename="ä.txt", content_type='text/plain; charset="utf-8"', content_id="c1")
    assert checked(attachments=[given, file()]).content.attachments == (
        Attachment("ä.txt", 'text/plain; charset="utf-8"', b"hi", "c1"),
        Attachment("a.txt", "application/octet-stream", b"hi"),
    )


def test_filename_with_a_path_a_control_character_or_without_a_name_is_refused() -> None:
    for name in ("../a", "c:\\a", "a\nb", "", ".", ".."):
        assert broken(attachments=[file(), file(filename=name)]) == [
            (
                "attachments[1].filename",
                "A filename has at least one character, no path and no control characters.",
            )
        ]


def test_media_type_of_no_form_is_refused() -> None:
    for media_type in ("text", "text/plain;\r\n a=b", "a/" + "b" * 254):
        assert broken(attachments=[file(content_type=media_type)]) == [
            (
                "attachments[0].content_type",
                "A media type must be of the form type/subtype, parameters may follow.",
            )
        ]


def test_media_type_that_must_not_be_base64_is_refused() -> None:
    assert fields(attachments=[file(content_type="Multipart/mixed")]) == [
        "attachments[0].content_type"
    ]
    assert "use application/octet-stream" in str(
        refusal(attachments=[file(content_type="message/rfc822")])
    )


def test_content_id_with_a_bracket_is_refused() -> None:
    assert fields(attachments=[file(content_id="<a>")]) == ["attachments[0].content_id"]


def test_more_attachments_than_the_limit_are_refused_as_too_large() -> None:
    error = refusal(attachments=[file()] * 101)
    assert error.too_large and str(error) == "There are 101 attachments; at most 100 are taken."


def test_attachments_over_their_size_together_are_refused_as_too_large() -> None:
    settings = replace(SETTINGS, max_attachments=1000)
    large = file(content=base64.b64encode(b"a" * 999).decode())
    assert checked(settings, attachments=[large])
    error = refusal(settings, attachments=[file(), large])
    assert error.too_large and [v.field for v in error.violations] == ["attachments"]
