"""What is sent, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from babygun.errors import BabygunError
from babygun.smtp.replies import Reply


class Envelope(msgspec.Struct, frozen=True):
    """One message to some recipients, for one transaction.

    ``message(eight_bit, smtputf8)`` renders the content once it is known what the server offers (8BITMIME, SMTPUTF8): lines
    ended by CRLF, not dot-stuffed, the same bytes for the same arguments. It raises ValueError where only SMTPUTF8 could
    carry the content and ``smtputf8`` is false.
    """

    sender: str  # bare address; empty: the null reverse-path
    recipients: tuple[str, ...]  # bare addresses
    message: Callable[[bool, bool], bytes]
    needs_smtputf8: bool = (
        False  # some address has a local part beyond ASCII; a domain alone goes as A-labels
    )


class Outcome(msgspec.Struct, frozen=True):
    """What came of an envelope: one reply per recipient.

    The RCPT reply of a recipient who was refused; else the reply to DATA or to the message. A MAIL that was refused counts for
    all. Where the connection failed the reply has no code, its phase is what was not answered, its text says what happened,
    and it is ``uncertain`` if the final dot had been sent. What we refuse ourselves, before anything is sent, has a code too
    (552 5.3.4, 553 5.6.7, 553 5.1.3), and a text that says so.
    """

    replies: dict[str, Reply]


class NotSent(BabygunError):
    """The message was certainly not sent: sending was called off before its content went out."""
