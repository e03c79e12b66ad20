"""When a message goes out once more, on another connection. No I/O.

What a server refuses may be about the connection alone: it has carried enough, or the server
breaks when commands are pipelined. While nobody can have got the message, it is sent again at once.
"""

from __future__ import annotations

import re

from babygun.smtp.replies import Reply

# What says of BDAT that the server does not manage it: codes (RFC 5321, 4.2.4), codes where MAIL
# and RCPT were accepted, enhanced codes without their first digit (RFC 3463, 3.6), and text.
_NOT_KNOWN = (500, 502, 504)
_NOT_KNOWN_AFTER_RCPT = (501, 503)
_INVALID_COMMAND = (".5.1", ".5.2", ".5.4")
_SAYS_NOT_KNOWN = re.compile(
    r"(unrecogni[sz]ed|unknown|invalid|unsupported|bad) (command|sequence)"
    r"|command (is )?(not|un)|not (implemented|supported)|\bbdat\b",
    re.IGNORECASE,
)
# Enhanced codes to MAIL about the sender or the size, and so not about the connection.
_ABOUT_EMAIL = re.compile(r"\d\.1\.\d+|\d\.2\.3|\d\.3\.4")


class Again(Exception):
    """Nobody got the message. It is to go out again on another connection, and uses up no try.

    ``replies``: the outcome, if nobody sends it again. ``again``: whether to do so.
    """

    def __init__(self, replies: dict[str, Reply], *, again: bool = True) -> None:
        super().__init__()
        self.replies = replies
        self.again = again


class ChunkingFailed(Again):
    """The server offers BDAT and does not manage it.

    The server may have taken the message for commands, so the connection is closed.
    """


class PipeliningBroke(Again):
    """The server broke off in the middle of commands that were sent together.

    It is not sent again where somebody may have got it, or where it would take too long.
    """


class Ipv6Refused(Again):
    """The server takes no mail from our address of IPv6; it may take it from one of IPv4."""


def says_no_bdat(reply: Reply, *, accepted: bool) -> bool:
    """Whether a refusal of BDAT says that the server does not manage it.

    ``accepted``: MAIL and a RCPT were accepted. Otherwise BDAT is out of sequence.
    """
    if reply.code in _NOT_KNOWN:
        return True
    return accepted and (
        reply.code in _NOT_KNOWN_AFTER_RCPT
        or (reply.enhanced or "")[1:] in _INVALID_COMMAND
        or _SAYS_NOT_KNOWN.search(reply.text) is not None
    )


def may_be_about_connection(reply: Reply) -> bool:
    """Of a reply that refused MAIL: whether another connection may fare better."""
    return not _ABOUT_EMAIL.fullmatch(reply.enhanced or "")


def is_soft(reply: Reply) -> bool:
    return reply.code is not None and 400 <= reply.code <= 499


def says_full(reply: Reply) -> bool:
    """Whether the transaction has as many recipients as it may have (RFC 5321, 4.5.3.1.10)."""
    return reply.code in (451, 452, 552) and (
        (reply.enhanced or "").endswith(".5.3") or "too many recipients" in reply.text.lower()
    )
