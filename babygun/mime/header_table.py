"""The header fields with rules of their own: one row each, with its kind and who may set it.

A name without a row may be set by clients, as often as they like. Its value is machine-read if it
is ASCII, and text otherwise.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

# How a field is read. That decides what its value may hold, and how it is written.
Kind = Literal[
    # By people: what is not ASCII becomes encoded words (RFC 2047).
    "text",
    # Phrases between commas, each perhaps with something in angle brackets behind it. Only the
    # phrases may become encoded words.
    "phrases",
    "addresses",
    # ASCII. Elements between commas, so a line may also be folded behind a comma.
    "structured",
    # ASCII, as it is. A line may be folded only at white space.
    "machine-read",
    # Message ids in angle brackets (RFC 5322, 3.6.4): one, or a list.
    "id",
    "ids",
    # A date (RFC 5322, 3.3).
    "date",
    # A name without a row.
    "unknown",
]


class Header(NamedTuple):
    """``once``: a message has at most one. ``refused``: why clients can't set it.

    ``only``: the one value that it may have.
    """

    kind: Kind
    once: bool = False
    refused: str = ""
    only: str = ""


def _rows(kind: Kind, names: str, once: bool = False) -> dict[str, Header]:
    return dict.fromkeys(names.split(), Header(kind, once))


def _refused(reason: str) -> Header:
    return Header("unknown", refused=reason)


_UNKNOWN = Header("unknown")

# By names in lower case.
HEADERS: dict[str, Header] = {
    "from": _refused("it is made from the field sender"),
    "sender": _refused("it is made from the field sender"),
    "to": _refused("give its addresses in the field to"),
    "cc": _refused("give its addresses in the field cc"),
    "bcc": _refused("give its addresses in the field bcc, which is never sent along"),
    "reply-to": _refused("give its addresses in the field reply_to"),
    "subject": _refused("give it in the field subject"),
    "mime-version": _refused("it is written with the message's structure"),
    "received": _refused("mail servers write it"),
    "return-path": _refused("the last mail server writes it"),
    "delivered-to": _refused("the last mail server writes it"),
    "dkim-signature": _refused("the finished message is signed"),
    "authentication-results": _refused("mail servers write it"),
    # RFC 5322, 3.6; RFC 4021 (the dates).
    **_rows("date", "date expires reply-by", once=True),
    **_rows("id", "message-id original-message-id supersedes", once=True),
    **_rows("ids", "in-reply-to references", once=True),
    **_rows("text", "comments organization thread-topic user-agent x-mailer"),
    **_rows("phrases", "keywords"),
    # RFC 2369, RFC 2919, RFC 8058.
    **_rows(
        "structured",
        "list-unsubscribe list-subscribe list-help list-post list-owner list-archive",
        once=True,
    ),
    **_rows("phrases", "list-id", once=True),
    "list-unsubscribe-post": Header("machine-read", once=True, only="List-Unsubscribe=One-Click"),
    "tls-required": Header("machine-read", once=True, only="No"),  # RFC 8689, 5
    # RFC 8098, 2.1.
    **_rows("addresses", "disposition-notification-to", once=True),
    **_rows(
        "addresses",
        "errors-to mail-followup-to mail-reply-to return-receipt-to x-confirm-reading-to",
    ),
    **_rows(
        "machine-read",
        "auto-submitted autocrypt disposition-notification-options feedback-id importance"
        " precedence priority sensitivity thread-index x-auto-response-suppress"
        " x-msmail-priority x-priority",
    ),
}
# By how a name begins.
PREFIXES: dict[str, Header] = {
    "content-": _refused("it is written with the message's structure"),
    "arc-": _refused("mail servers write it"),
    "resent-": _refused("it is for people who send a received message on"),
}
_STARTS = tuple(PREFIXES)

# RFC 5322's ftext: printable ASCII without the colon. A longer name leaves no room for a value.
_is_name = re.compile(r"[!-9;-~]{1,76}").fullmatch


def header_of(name: str) -> Header:
    """The row of a header that a client may set.

    Raises ValueError with a sentence if the name is none, or is not for clients.
    """
    lower = name.lower()
    header = HEADERS.get(lower)
    if header is None:
        if not _is_name(name):
            raise ValueError(
                "A header's name has 1 to 76 printable ASCII characters, no space and no colon."
            )
        header = _UNKNOWN
        if lower.startswith(_STARTS):
            header = PREFIXES[lower[: lower.index("-") + 1]]
    if header.refused:
        raise ValueError(f"{name} can't be set here: {header.refused}.")
    return header
