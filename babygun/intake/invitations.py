"""Invitations: calendars that mail programs show with buttons to answer them (RFC 6047).

Mail programs look for them among the alternatives of the text, not among the attachments.
"""

from __future__ import annotations

import re

from babygun.mime.media_type import MediaType

CALENDAR = "text/calendar"

_fold = re.compile(rb"\r?\n[ \t]")
_method = re.compile(rb"^METHOD(?:;[^:\r\n]*)?:[ \t]*([A-Z-]+)[ \t]*\r?$", re.M | re.I)


def invitation_type(media: MediaType, content: bytes) -> MediaType:
    """The type of an invitation, with its method. Raises ValueError with a sentence.

    Method of the type and METHOD of the calendar must be the same (RFC 5545, 3.7.2).
    """
    if media.kind != CALENDAR:
        raise ValueError(
            f"Only {CALENDAR} can be an alternative of the text, and this is {media.kind}."
        )
    charset = (media.get("charset") or "utf-8").lower()
    if charset not in ("utf-8", "us-ascii") or not _is_utf8(content):
        raise ValueError("An invitation must be in UTF-8, or have alternative set to false.")
    said = media.get("method")
    found = _method.search(_fold.sub(b"", content))
    if found is None:
        raise ValueError(
            f"The calendar has no line METHOD:{(said or 'REQUEST').upper()}, so it is no "
            "invitation. Add the line, or set alternative to false."
        )
    method = found[1].decode()
    if said is not None and said.upper() != method.upper():
        raise ValueError(
            f"The type says method={said[:50]}, and the calendar METHOD:{method[:50]}. "
            "Make them the same, or set alternative to false."
        )
    return media if said is not None else media.having("method", method)


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
