"""A message with its recipients, and the outcome of sending it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from babygun.email.model import TlsResult
from babygun.errors import BabygunError
from babygun.routing.server import Server
from babygun.smtp.replies import Reply
from babygun.smtp.tls_checks import TlsSession


class Envelope(msgspec.Struct, frozen=True):
    """One message to some recipients, for one transaction.

    ``sender`` and ``recipients`` are bare addresses; an empty sender is the null reverse-path.

    ``message(eight_bit, smtputf8)`` renders the message for what the server offers (8BITMIME,
    SMTPUTF8): lines end with CRLF, dots are not doubled, the same arguments give the same bytes.
    Without SMTPUTF8 it leaves out of the header the recipients that only SMTPUTF8 can carry.

    ``sign``: puts what signs a message before it. It gets the message exactly as it goes out, but
    for dots that are doubled on the way.

    ``needs_smtputf8``: some address has a local part beyond ASCII. A domain alone does not need
    it, since a domain has an ASCII form.
    """

    sender: str
    recipients: tuple[str, ...]
    message: Callable[[bool, bool], bytes]
    needs_smtputf8: bool = False
    sign: Callable[[bytes], Awaitable[bytes]] | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What came of an envelope: one reply per recipient, except for those in ``parts``.

    A refused recipient has its RCPT reply; the others have the reply to DATA or to the message.
    A refused MAIL counts for all. Where the connection failed, the reply has no code: its phase
    is what was not answered, its text says what happened, and it is ``uncertain`` if the final
    dot had been sent. What Babygun refuses itself has a code too (552 5.3.4, 553 5.6.7,
    553 5.1.3), and a text that says so.

    ``parts``: recipients that nobody got the message for, since the server ended the connection
    after some of them. Each part is to go out in a transaction of its own; no try is used up.
    ``note``: what an operator should know of the way that the message went; often empty.
    ``server``: that of a mail host which the message went to. None: the relay, or none was reached.
    ``tls``: of its connection, or of the last one that TLS was the reason not to use. ``sessions``:
    what is to be counted of TLS, for the queue.
    """

    replies: dict[str, Reply]
    parts: tuple[tuple[str, ...], ...] = ()
    note: str = ""
    server: Server | None = None
    tls: TlsResult | None = None
    sessions: tuple[TlsSession, ...] = ()


class NotSent(BabygunError):
    """The message was certainly not sent: it was called off before its content went out."""


class NoConnection(NotSent):
    """This machine lacks what a connection takes. No server is at fault."""
