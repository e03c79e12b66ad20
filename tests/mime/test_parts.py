"""Attachments with any name, type and content, read back with the standard library's parser."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import hypothesis
from hypothesis import strategies as st

from babygun.email.model import Attachment, Content
from babygun.intake.base64_content import decode
from babygun.intake.filenames import tidy_filename
from babygun.mime import render
from babygun.mime.media_type import parse_media_type

_DATE = datetime(2026, 11, 25, tzinfo=UTC)
_settings = hypothesis.settings(max_examples=80, deadline=None, database=None, derandomize=True)


def _is_tidy(name: str) -> bool:
    try:
        return tidy_filename(name) == name != ""
    except ValueError:
        return False


_CHARACTERS = st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"))
_ODD = st.sampled_from("\"';,%=?*()<>@:[] .é請👩\u200d")
_NAMES = st.text(st.one_of(_CHARACTERS, _ODD), min_size=1, max_size=255).filter(_is_tidy)
_TOKENS = st.text("abcxyz0189-_", min_size=1, max_size=12)
_VALUES = st.text(st.one_of(_CHARACTERS, _ODD, st.just("\\")), min_size=1, max_size=120)
_TYPES = st.builds(
    lambda kind, subtype, parameters: (f"{kind}/x-{subtype}", parameters),
    st.sampled_from(["text", "application", "image"]),
    _TOKENS,
    st.dictionaries(_TOKENS.map("x-{}".format), _VALUES, max_size=3),
)
_FILES = st.lists(
    st.tuples(_NAMES, _TYPES, st.binary(max_size=300), st.none() | _TOKENS), min_size=1, max_size=4
)


@hypothesis.given(files=_FILES, eight_bit=st.booleans(), html=st.none() | st.just("cid:abc cid:x"))
@_settings
def test_attachments_of_any_kind_arrive_as_they_were_given(
    files: list[tuple[str, Any, bytes, str | None]], eight_bit: bool, html: str | None
) -> None:
    given = []
    for name, (kind, parameters), content, content_id in files:
        quoted = {n: v.replace("\\", "\\\\").replace('"', '\\"') for n, v in parameters.items()}
        text = kind + "".join(f' ;{n.upper()} = "{v}";' for n, v in quoted.items())
        given.append(Attachment(name, str(parse_media_type(text)), content, content_id))
    content = Content("a@example.org", body="ä\n", html=html, attachments=tuple(given))
    raw = render(content, message_id="<1@x>", date=_DATE, eight_bit=eight_bit)
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    message = message_from_bytes(raw, policy=default)
    assert isinstance(message, EmailMessage)
    parts = [part for part in message.walk() if part.get_content_disposition()]
    assert sorted(map(_seen, parts)) == sorted(
        (name, kind, sorted(parameters.items()), content, content_id or "")
        for name, (kind, parameters), content, content_id in files
    )


def _seen(part: EmailMessage) -> tuple[Any, ...]:
    assert part.defects == []
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    parameters = part["Content-Type"].params
    given = {name: str(value) for name, value in parameters.items() if name[:2] == "x-"}
    return (
        part.get_filename(),
        part.get_content_type(),
        sorted(given.items()),
        payload,
        str(part["Content-ID"] or "").strip("<>"),
    )


@hypothesis.given(
    content=st.binary(max_size=300),
    width=st.integers(1, 80),
    padded=st.booleans(),
    end=st.text("\r\n"),
)
@_settings
def test_base64_in_lines_of_any_width_is_read(
    content: bytes, width: int, padded: bool, end: str
) -> None:
    flat = base64.b64encode(content).decode()
    text = flat if padded else flat.rstrip("=")
    lines = [text[at : at + width] for at in range(0, len(text), width)]
    assert decode("\r\n".join(lines) + end) == content
