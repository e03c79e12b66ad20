"""What a message that came back says: the result of all parsers."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

# bounce      a server gave up: at least one recipient was not reached
# delayed     it goes on trying
# relayed     it was delivered, or passed on to a server that reports no more
# complaint   somebody said that the mail is spam
# auto_reply  a program answered: out of office, a receipt
# unknown     anything else, such as what a person wrote
Kind = Literal["bounce", "delayed", "relayed", "complaint", "auto_reply", "unknown"]


class Failure(NamedTuple):
    """What a bounce message says of one recipient.

    ``addresses``: as it was addressed first, then as the server knew it at last; maybe none.
    ``code``: the SMTP code of the reply that it quotes, None without one. ``enhanced``: of
    RFC 3463; empty for none. ``text``: the reply.
    """

    addresses: tuple[str, ...] = ()
    code: int | None = None
    enhanced: str = ""
    text: str = ""


class Complaint(NamedTuple):
    """``feedback_type``: of RFC 5965, such as ``abuse``. ``reporter``: the program or its host.

    ``addresses``: who complained, where it says so. ``head``: the fields of the message that the
    complaint is about and of the report itself, in which our own address stands.
    """

    feedback_type: str
    reporter: str
    addresses: tuple[str, ...]
    head: str


class Reading(NamedTuple):
    """``shape``: the form of message that was recognised. ``reporter``: the host that reports."""

    kind: Kind
    shape: str
    failures: tuple[Failure, ...] = ()
    reporter: str = ""
    complaint: Complaint | None = None


MOST_FAILURES = 1000  # recipients of one report: an e-mail has no more

_address = re.compile(r"[^\s<>\"'(),:;@]{1,100}@[^\s<>\"'(),:;@]{1,253}").search
_QUOTED_LOCAL = re.compile(r'"[^"\n]{1,100}"@[^\s<>"\'(),:;@]{1,253}').search


def address_in(text: str) -> str:
    """The first e-mail address in a text; empty if there is none."""
    text = text[:2000]
    found = _QUOTED_LOCAL(text) or _address(text)
    return found[0].rstrip(".") if found else ""


def distinct(*addresses: str) -> tuple[str, ...]:
    """These addresses, each once, without empty ones."""
    return tuple(dict.fromkeys(filter(None, addresses)))
