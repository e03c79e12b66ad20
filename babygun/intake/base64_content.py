"""Base64 as people and programs write it: with line breaks, or without the padding at its end."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from babygun.errors import InvalidRequest, Violation

_beginning = re.compile(r"[A-Za-z0-9+/ \t\r\n]*").match  # of base64; quicker than a search
_url_safe = re.compile(r"(?!\s*--)[A-Za-z0-9_= \t\r\n-]*").fullmatch  # and no PEM


def tidy_contents(document: Any) -> Any:
    """The JSON of an e-mail with the contents of its attachments decoded.

    For the rare JSON whose base64 is not quite what RFC 4648, section 4, says. Raises
    InvalidRequest, which names each content that can't be read.
    """
    files = document.get("attachments") if isinstance(document, dict) else None
    faults: list[Violation] = []
    for index, file in enumerate(files if isinstance(files, list) else ()):
        if isinstance(file, dict) and isinstance(file.get("content"), str):
            try:
                file["content"] = decode(file["content"])
            except ValueError as error:
                faults.append(Violation(f"attachments[{index}].content", str(error)))
    if faults:
        raise InvalidRequest(faults)
    return document


def decode(text: str) -> bytes:
    """Raises ValueError with a sentence that names what is wrong, and where."""
    bare = text
    for space in "\n\r\t ":  # a tenth of the time of one translate()
        if space in bare:
            bare = bare.replace(space, "")
    try:
        return msgspec.convert(bare + "=" * (-len(bare) % 4), bytes)
    except msgspec.ValidationError:
        raise ValueError(_fault(text, bare)) from None


def _fault(text: str, bare: str) -> str:
    if text.lstrip()[:5].lower() == "data:":
        return "It is a data: URL: give only the base64, which follows the comma."
    found = _beginning(text)
    place = found.end() if found else 0
    character = text[place : place + 1]
    if character and character in "-_" and _url_safe(text):
        return (
            "It is base64 of the URL-safe alphabet, with - and _: "
            "give the usual one, with + and / (RFC 4648, section 4)."
        )
    if not character:
        return (
            f"It has {len(bare)} characters of base64, which is a length that base64 can't have: "
            "something is missing."
        )
    if character != "=":
        return f"It is not base64: “{character}” stands at character {place + 1}."
    return (
        f"Its base64 ends at character {place + 1}, at “=”: "
        "more follows, or the padding is too long."
    )
