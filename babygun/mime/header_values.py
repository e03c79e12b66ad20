"""What the value of a client's header may hold, by its kind, and how it is written in ASCII."""

from __future__ import annotations

import re
from collections.abc import Callable

from babygun.email.addresses import needs_smtputf8, parse_address
from babygun.mime.dates import rfc_5322_date
from babygun.mime.header_table import Header, Kind
from babygun.mime.urls import ascii_urls, is_url

_LINE_BREAKS = "\r\n\x85\u2028\u2029"  # controls, too
_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]").search
_beyond_ascii = re.compile(r"[^\x00-\x7f]").search
# A part of a list. Quotation marks and brackets that are not closed hold all the rest, so that no
# text is read twice.
_CLOSED = r'"(?:[^"\\]|\\.?)*+(?:"|\Z)|<[^>]*+(?:>|\Z)'
_ELEMENT = re.compile(rf'(?:{_CLOSED}|[^",<])+')
_TIGHT_COMMA = re.compile(rf"({_CLOSED})|,(?=[^ \t,])")
_BETWEEN_IDS = re.compile(r">[ \t,]*<")
# Received ids are not always well formed. One for a new message must be.
_are_ids = re.compile(r"<[!-;=?-~]+>(?: <[!-;=?-~]+>)*").fullmatch
_is_new_id = re.compile(r"<[!-;=?A-~]+@[!-;=?A-~]+>").fullmatch


def wire_value(name: str, value: str, header: Header) -> tuple[str, Kind]:
    """The value as it is written, and its kind.

    Only text, phrases and addresses may still have characters beyond ASCII. Raises ValueError with
    a sentence.
    """
    kind = header.kind
    if not value.isprintable() and (found := _control(value)):
        if found[0] in _LINE_BREAKS:
            raise ValueError(
                "A header's value must not hold line breaks. Give it on one line: it is folded "
                "when it is written."
            )
        raise ValueError("A header's value must not hold control characters.")
    if kind == "unknown":
        if value.isascii():
            return value, "machine-read"
        if not is_url(value):
            return value, "text"
        kind = "machine-read"
    if kind == "text":
        return value, kind
    if not value and kind != "machine-read":
        raise ValueError(f"{name} has no value. Give one, or leave the header out.")
    if header.only and value != header.only:
        raise ValueError(f"{name} must have the value {header.only}.")
    try:
        return _WRITTEN[kind](value), kind
    except ValueError as error:
        raise ValueError(f"{name} {error}.") from None


def elements(value: str) -> list[str]:
    """What stands between the commas of a list. Commas in quotation marks or <> are none."""
    found: list[str] = _ELEMENT.findall(value)
    return [text for element in found if (text := element.strip(" \t"))]


def spaced(value: str) -> str:
    """A list with white space behind each comma between elements."""
    return _TIGHT_COMMA.sub(lambda found: found[1] or ", ", value)


def _ascii(value: str) -> str:
    """Machine-read and structured: ASCII, but for URLs."""
    if value.isascii():
        return value
    try:
        value = ascii_urls(value)
    except ValueError as error:
        raise ValueError(f"has a URL that can't be written in ASCII: {error}") from None
    if found := _beyond_ascii(value):
        character = found[0]
        shown = f"{character} " if character.isprintable() else ""
        raise ValueError(
            f"is read by programs, so it takes ASCII only; it has {shown}(U+{ord(character):04X})"
        )
    return value


def _phrases(value: str) -> str:
    """What stands in angle brackets is machine-read."""
    if value.isascii():
        return value
    parts = [element.partition("<") for element in elements(value)]
    return ", ".join(phrase + _ascii(bracket + rest) for phrase, bracket, rest in parts)


def _addresses(value: str) -> str:
    """ASCII has been written by somebody who knows the grammar: it may hold groups and comments."""
    if value.isascii():
        return value
    for element in elements(value):
        try:
            email = parse_address(element).email
        except ValueError as error:
            raise ValueError(f"must be addresses with commas between them: {error}") from None
        if needs_smtputf8(email):
            raise ValueError(f"takes ASCII addresses only, and {email} is none")
    return value


def _ids(value: str) -> str:
    """Ids with a space between them. One without its angle brackets gets them."""
    if _are_ids(value):
        return value
    tokens = _BETWEEN_IDS.sub("> <", value.replace("\t", " ")).split(" ")
    ids = " ".join(_bracketed(bare) for token in tokens if (bare := token.strip(",")))
    if not _are_ids(ids):
        raise ValueError("must be message ids of the form <left@right>, with spaces between them")
    return ids


def _id(value: str) -> str:
    one = _bracketed(value)
    if not _is_new_id(one):
        raise ValueError("must be one id of the form <left@right>, in ASCII and without spaces")
    return one


def _bracketed(text: str) -> str:
    """``left@right`` as ``<left@right>``."""
    return f"<{text}>" if _is_new_id(f"<{text}>") else text


_WRITTEN: dict[Kind, Callable[[str], str]] = {
    "date": rfc_5322_date,
    "id": _id,
    "ids": _ids,
    "addresses": _addresses,
    "phrases": _phrases,
    "structured": _ascii,
    "machine-read": _ascii,
}
