"""What is said of a name that a request may not have, and which name may be meant."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

# What fields and parameters are called elsewhere.
_OTHER_NAMES = {
    "from": "sender",
    "from_email": "sender",
    "text": "body",
    "message": "body",
    "address": "email",
    "scope": "scopes",
    "files": "attachments",
    "name": "filename",
    "type": "content_type",
    "data": "content",
    "scheduled_at": "send_at",
    "deliver_at": "send_at",
    "custom_args": "metadata",
    "variables": "metadata",
    "page": "cursor",
    "offset": "cursor",
    "since": "after",
    "until": "before",
}
_LONGEST = 100  # characters of a name that are shown
_MOST = 8  # names that are listed


def no_such(kind: str, name: str, known: Sequence[str]) -> str:
    """That there is no such ``kind``, a field or a parameter, and what is ``known``."""
    said = f"There is no {kind} `{name[:_LONGEST]}`"
    meant = _OTHER_NAMES.get(name.lower())
    near = [meant] if meant in known else get_close_matches(name[:_LONGEST].lower(), known, 1)
    if near:
        return f"{said}; did you mean `{near[0]}`?"
    listed = ", ".join(f"`{each}`" for each in known)
    return f"{said}; there are {listed}." if 0 < len(known) <= _MOST else f"{said}."
