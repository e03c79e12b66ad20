"""The commands of a transaction, from an envelope and what the server offers. No network."""

from __future__ import annotations

import re
from typing import NamedTuple

from babygun.email.addresses import needs_smtputf8, to_ascii_domain
from babygun.smtp.connection import Capabilities, wire_form
from babygun.smtp.envelope import Envelope
from babygun.smtp.replies import Phase, Reply

# What may be in the angle brackets of a path. Nothing may close the brackets early: a parameter
# or a command could follow.
_PATH = re.compile(
    r'(?:"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*"|[^\s"<>\x00-\x1f\x7f]+)@[^\s"<>@\x00-\x1f\x7f]+'
)


class Prepared(NamedTuple):
    """The commands of one transaction.

    ``recipients`` and their RCPT commands ``rcpts`` are in the same order.
    ``content``: the message in :func:`wire_form`.
    ``refused``: recipients that Babygun refuses itself.
    """

    mail: bytes
    recipients: list[str]
    rcpts: list[bytes]
    content: bytes
    refused: dict[str, Reply]


class _Refused(Exception):
    """Babygun refuses an address or the whole envelope itself."""

    def __init__(self, phase: Phase, code: int, enhanced: str, text: str) -> None:
        super().__init__(text)
        self.reply = Reply(phase, code, enhanced, f"{text} (refused by Babygun, nothing was sent)")


async def prepare(envelope: Envelope, capabilities: Capabilities) -> Prepared:
    """The commands. With no recipient left, only ``refused`` counts.

    Waits for nothing but the envelope's ``sign``. Raises what that and its ``message`` raise.
    """
    utf8 = envelope.needs_smtputf8 and capabilities.smtputf8
    recipients: list[str] = []
    rcpts: list[bytes] = []
    refused: dict[str, Reply] = {}
    try:
        sender = _path(envelope.sender, utf8, "mail") if envelope.sender else b""
        for recipient in dict.fromkeys(envelope.recipients):
            try:
                rcpts.append(b"RCPT TO:<%b>\r\n" % _path(recipient, utf8, "rcpt"))
                recipients.append(recipient)
            except _Refused as refusal:
                refused[recipient] = refusal.reply
        if not recipients:
            return Prepared(b"", [], [], b"", refused)
        message = await _message(envelope, capabilities, utf8)
    except _Refused as refusal:
        return Prepared(b"", [], [], b"", dict.fromkeys(envelope.recipients, refusal.reply))
    parameters = b" SIZE=%d" % len(message) if capabilities.size_offered else b""
    if capabilities.eight_bit and (utf8 or not message.isascii()):
        parameters += b" BODY=8BITMIME"
    if utf8:
        parameters += b" SMTPUTF8"
    return Prepared(
        b"MAIL FROM:<%b>%b\r\n" % (sender, parameters),
        recipients,
        rcpts,
        message,
        refused,
    )


async def _message(envelope: Envelope, capabilities: Capabilities, utf8: bool) -> bytes:
    """The message as this server can take it. Raises _Refused."""
    message = wire_form(envelope.message(capabilities.eight_bit, utf8))
    if envelope.sign is not None:
        message = await envelope.sign(message)
    if capabilities.size and len(message) > capabilities.size:
        raise _Refused(
            "mail",
            552,
            "5.3.4",
            f"the message has {len(message)} bytes, the server takes {capabilities.size}",
        )
    return message


def _path(address: str, utf8: bool, phase: Phase) -> bytes:
    """The address as it goes between the angle brackets. Raises _Refused."""
    if not _PATH.fullmatch(address):
        use = "be sent to" if phase == "rcpt" else "be a sender"
        raise _Refused(phase, 553, "5.1.3", f"not an address that can {use}")
    if address.isascii() or utf8:
        return address.encode()
    if needs_smtputf8(address):
        raise _Refused(
            phase, 553, "5.6.7", "the server does not offer SMTPUTF8, which the address needs"
        )
    try:
        return to_ascii_domain(address).encode()
    except ValueError as error:
        raise _Refused(phase, 553, "5.1.3", f"a domain without an ASCII form: {error}") from None
