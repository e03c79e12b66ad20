"""A row of a file of suppressions, and the names that its columns may have. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

Format = Literal["csv", "ndjson"]

# Without case, spaces, - and _: what a column of CSV, or a member of a JSON object, may be called.
# Files of other services are so read as they are (docs/suppressions.md).
_NAMES = {
    "email": "email",
    "address": "email",
    "emailaddress": "email",
    "reason": "reason",
    "list": "list",
    "tag": "list",
    "tags": "list",
    "since": "since",
    "created": "since",
    "createdat": "since",
    "lastupdatetime": "since",
    "until": "until",
    "statuscode": "status_code",
    "enhancedcode": "enhanced_code",
    "reply": "reply",
}


class Row(msgspec.Struct, frozen=True):
    """``line``: where it begins, from 1 on. ``fields``: what is not empty, by our own names."""

    line: int
    fields: dict[str, str]


class BadRow(msgspec.Struct, frozen=True):
    """``detail``: what is wrong, as a sentence."""

    line: int
    detail: str


class BadFile(Exception):
    """The file as a whole can't be read. The message is a sentence."""


def own_name(name: str) -> str | None:
    """Our name of a column; None: it has no meaning here."""
    return _NAMES.get("".join(c for c in name.lower() if c not in " -_\t"))
