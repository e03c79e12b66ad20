"""Media types with their parameters (RFC 2045, 5.1): read as people write them, written by rule.

A type is kept as one line of text: ``text/csv; charset=utf-8; title="Grüße; Teil 1"``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from babygun.email.addresses import quote
from babygun.mime.headers import parameter

UNKNOWN = "application/octet-stream"

_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"  # RFC 6838, 4.2
_TYPE = re.compile(rf"\s*({_NAME}/{_NAME})\s*").match
# A semicolon and maybe a parameter. Its value may stand without quotes though it needs them.
_PARAMETER = re.compile(
    r';\s*(?:([A-Za-z0-9!#$&+.^_`{|}~*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+)))?\s*'
).match
_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]").search
# A value that needs no quotes. With * ' or % it may do without, but some parsers read RFC 2231.
_token = re.compile(r"[A-Za-z0-9!#$&+.^_`{|}~-]+").fullmatch
# Characters of an ASCII value that stays in one piece: in more, few programs read it.
_ONE_PIECE = 500


class MediaType(NamedTuple):
    """``kind``: type and subtype in lower case. ``parameters``: names in lower case, and values."""

    kind: str
    parameters: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str | None:
        return next((value for given, value in self.parameters if given == name), None)

    def having(self, name: str, value: str) -> MediaType:
        """The same with one parameter set, in its place or as the last."""
        others = [(n, value if n == name else v) for n, v in self.parameters]
        added = () if self.get(name) is not None else ((name, value),)
        return MediaType(self.kind, (*others, *added))

    def __str__(self) -> str:
        return self.kind + "".join(
            f"; {name}={value if _token(value) else quote(value)}"
            for name, value in self.parameters
        )

    def folded(self) -> str:
        """The value of a Content-Type field: ASCII, each parameter on a line of its own."""
        return self.kind + "".join(
            f";\r\n {name}={value}" if _token(value) else parameter(name, value, _ONE_PIECE)
            for name, value in self.parameters
        )


@lru_cache(maxsize=256)
def parse_media_type(text: str) -> MediaType:
    """Reads a type. White space and semicolons that are too many do no harm.

    Raises ValueError with a sentence.
    """
    if _control(text):
        raise ValueError("A media type must not hold control characters.")
    found = _TYPE(text)
    if not found or text[found.end() : found.end() + 1] not in ("", ";"):
        raise ValueError(
            "A media type must be of the form type/subtype, such as application/pdf; "
            "parameters may follow."
        )
    kind, at = found[1].lower(), found.end()
    parameters: dict[str, str] = {}
    while at < len(text):
        match = _PARAMETER(text, at)
        if not match or text[match.end() : match.end() + 1] not in ("", ";"):
            raise ValueError(
                f"“{text[at:].lstrip('; ')[:50]}” is no parameter of a media type: write "
                'name=value, or name="value" where the value has spaces, quotes or semicolons.'
            )
        at = match.end()
        if match[1] is not None:
            name = match[1].lower()
            if "*" in name:
                plain = name.partition("*")[0]
                raise ValueError(f"Give the parameter {plain} as it is; it is encoded for you.")
            if name in parameters:
                raise ValueError(f"A media type must have the parameter {name} only once.")
            quoted = match[2]
            value = match[3] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            parameters[name] = value
    return MediaType(kind, tuple(parameters.items()))


def kept_media_type(text: str) -> MediaType:
    """A type as it was accepted. What is none is the type of unknown data."""
    try:
        return parse_media_type(text)
    except ValueError:
        return MediaType(UNKNOWN)
