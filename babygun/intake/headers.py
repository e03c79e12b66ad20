"""Which headers a client may set on an e-mail, and what they may hold.

A header that Babygun or a mail server writes itself is refused rather than overwritten, so that nothing is lost in silence.
``Date``, ``Message-ID``, ``In-Reply-To``, ``References``, ``List-*``, ``X-*`` and any other name are the client's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from babygun.intake.violations import Violations

MAX_HEADERS = 100
MAX_HEADERS_BYTES = (
    64 * 1024
)  # names and values together; mail servers refuse more than this or a little above
MAX_LINE = 998  # octets of one header, RFC 5322, 2.1.1

# Names are compared in lower case; a hyphen at the end stands for every name that begins so.
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
    "dkim-signature": "the relay signs",
    "arc-": "mail servers write it",
    "authentication-results": "mail servers write it",
    "resent-": "it is for people who send a received message on",
}
_ONCE = frozenset({"date", "message-id", "in-reply-to", "references"})  # RFC 5322, 3.6

_name = (
    re.compile(r"[!-9;-~]{1,76}").fullmatch
)  # ftext: printable ASCII but the colon; a longer one leaves no room for a value in its line
_control = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]"
).search  # all that anybody takes for a line break is among them
_message_id = re.compile(r"<[!-;=?-~]+@[!-;=?-~]+>").fullmatch


def read_headers(
    given: dict[str, str] | list[str], violations: Violations
) -> tuple[tuple[str, str], ...]:
    """The custom headers in their order. ``given``: an object of name and value, or a list of ``Name: value`` lines."""
    if len(given) > MAX_HEADERS:
        violations.add(
            "headers", f"There are {len(given)} headers; at most {MAX_HEADERS} are taken."
        )
        return ()
    headers: list[tuple[str, str]] = []
    seen: set[str] = set()
    size = 0
    for field, name, value in _pairs(given):
        fault = _fault(name, value, seen)
        if fault:
            violations.add(field, fault)
            continue
        size += len(name) + len(value.encode()) + 4
        headers.append((name, value.strip()))
    if size > MAX_HEADERS_BYTES:
        violations.add(
            "headers",
            f"The headers have {size} bytes; at most {MAX_HEADERS_BYTES} are taken.",
            status=413,
        )
    return tuple(headers)


def _pairs(given: dict[str, str] | list[str]) -> Iterator[tuple[str, str, str]]:
    """The field's path, name and value of each; a line without a colon has no value and an impossible name."""
    if isinstance(given, dict):
        for name, value in given.items():
            yield f"headers.{name[:80]}", name, value
    else:
        for index, line in enumerate(given):
            name, colon, value = line.partition(":")
            yield f"headers[{index}]", name.rstrip(" \t") if colon else "", value


def _fault(name: str, value: str, seen: set[str]) -> str | None:
    """What is wrong with a header, as a sentence."""
    if not name:
        return "A header must be of the form Name: value."
    if not _name(name):
        return "A header's name has 1 to 76 printable ASCII characters, no space and no colon."
    lower = name.lower()
    reason = FORBIDDEN.get(lower) or next(
        (
            why
            for start, why in FORBIDDEN.items()
            if start.endswith("-") and lower.startswith(start)
        ),
        None,
    )
    if reason:
        return f"{name} can't be set here: {reason}."
    if lower in _ONCE and lower in seen:
        return f"{name} can be given once only."
    seen.add(lower)
    if found := _control(value):
        return (
            "A header's value must not hold line breaks."
            if found[0] in "\r\n\x85\u2028\u2029"
            else "A header's value must not hold control characters."
        )
    if len(name) + 2 + len(value) > MAX_LINE or len(name) + 2 + len(value.encode()) > MAX_LINE:
        return f"A header must not be longer than {MAX_LINE} bytes."
    if lower == "message-id" and not _message_id(value.strip()):
        return "A Message-ID must be of the form <left@right>."
    return None
