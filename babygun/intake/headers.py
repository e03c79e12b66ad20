"""The custom headers of an e-mail: which names a client may set, and what a value may hold.

A header that Babygun or a mail server writes is refused, not overwritten: nothing is lost silently.
``Date``, ``Message-ID``, ``In-Reply-To``, ``References``, ``List-*``, ``X-*`` and all other names
are the client's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from babygun.intake.broken_rules import BrokenRules

MAX_HEADERS = 100
MAX_HEADERS_BYTES = 64 * 1024  # names and values together: mail servers take about that much
MAX_LINE = 998  # octets of one header, RFC 5322, 2.1.1

# Names in lower case. A hyphen at the end stands for every name that begins so.
FORBIDDEN: dict[str, str] = {
    "from": "it is made from the field sender",
    "sender": "it is made from the field sender",
    "to": "give its addresses in the field to",
    "cc": "give its addresses in the field cc",
    "bcc": "give its addresses in the field bcc, which is never sent along",
    "reply-to": "give its addresses in the field reply_to",
    "subject": "give it in the field subject",
    "mime-version": "it is written with the message's structure",
    "content-": "it is written with the message's structure",
    "received": "mail servers write it",
    "return-path": "the last mail server writes it",
    "delivered-to": "the last mail server writes it",
    "dkim-signature": "the finished message is signed",
    "arc-": "mail servers write it",
    "authentication-results": "mail servers write it",
    "resent-": "it is for people who send a received message on",
}
_ONCE = frozenset({"date", "message-id", "in-reply-to", "references"})  # RFC 5322, 3.6

# RFC 5322's ftext: printable ASCII without the colon. A longer name leaves no room for a value.
_name = re.compile(r"[!-9;-~]{1,76}").fullmatch
_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]").search
_LINE_BREAKS = "\r\n\x85\u2028\u2029"  # controls, too
_message_id = re.compile(r"<[!-;=?-~]+@[!-;=?-~]+>").fullmatch


def check_headers(
    given: dict[str, str] | list[str], broken: BrokenRules
) -> tuple[tuple[str, str], ...]:
    """Names and values in their order.

    ``given``: an object of names and values, or a list of ``Name: value`` lines.
    """
    if len(given) > MAX_HEADERS:
        broken.report(
            "headers", f"There are {len(given)} headers; at most {MAX_HEADERS} are taken."
        )
        return ()
    headers: list[tuple[str, str]] = []
    seen: set[str] = set()
    size = 0
    for field, name, value in _entries(given):
        fault = _name_fault(name, seen) or _value_fault(name, value)
        if fault:
            broken.report(field, fault)
            continue
        size += len(name) + len(value.encode()) + 4
        headers.append((name, value.strip()))
    if size > MAX_HEADERS_BYTES:
        broken.report(
            "headers",
            f"The headers have {size} bytes; at most {MAX_HEADERS_BYTES} are taken.",
            too_large=True,
        )
    return tuple(headers)


def _entries(given: dict[str, str] | list[str]) -> Iterator[tuple[str, str, str]]:
    """The field's path, name and value of each header. A line without a colon has no name."""
    if isinstance(given, dict):
        for name, value in given.items():
            yield f"headers.{name[:80]}", name, value
    else:
        for index, line in enumerate(given):
            name, colon, value = line.partition(":")
            yield f"headers[{index}]", name.rstrip(" \t") if colon else "", value


def _name_fault(name: str, seen: set[str]) -> str | None:
    """What is wrong with a name. ``seen``: the names so far, in lower case; a good one is added."""
    if not name:
        return "A header must be of the form Name: value."
    if not _name(name):
        return "A header's name has 1 to 76 printable ASCII characters, no space and no colon."
    lower = name.lower()
    if reason := _why_forbidden(lower):
        return f"{name} can't be set here: {reason}."
    if lower in _ONCE and lower in seen:
        return f"{name} can be given once only."
    seen.add(lower)
    return None


def _why_forbidden(lower: str) -> str | None:
    if lower in FORBIDDEN:
        return FORBIDDEN[lower]
    for start, reason in FORBIDDEN.items():
        if start.endswith("-") and lower.startswith(start):
            return reason
    return None


def _value_fault(name: str, value: str) -> str | None:
    if found := _control(value):
        kind = "line breaks" if found[0] in _LINE_BREAKS else "control characters"
        return f"A header's value must not hold {kind}."
    if len(name) + 2 + len(value.encode()) > MAX_LINE:
        return f"A header must not be longer than {MAX_LINE} bytes."
    if name.lower() == "message-id" and not _message_id(value.strip()):
        return "A Message-ID must be of the form <left@right>."
    return None
