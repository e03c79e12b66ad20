"""Lists of tags, such as ``v=DKIM1; k=rsa; p=…`` (RFC 6376, 3.2). Pure."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SPACE = re.compile(r"\s+")


def parse_tags(text: str) -> dict[str, str]:
    """The values by name, in the order of the text. Raises ValueError with a sentence."""
    tags: dict[str, str] = {}
    for part in text.split(";"):
        if not part.strip():
            continue
        name, equals, value = part.partition("=")
        name = name.strip()
        if not equals or not _NAME.fullmatch(name):
            raise ValueError(f"{part.strip()[:40]!r} is not of the form name=value")
        if name in tags:
            raise ValueError(f"it has {name}= twice")
        tags[name] = value.strip()
    return tags


def without_space(text: str) -> str:
    """Base64 may have white space anywhere."""
    return _SPACE.sub("", text)
