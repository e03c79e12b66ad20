"""The commands of a transaction, from an envelope and what the server offers. No I/O."""

from __future__ import annotations

import re
from typing import NamedTuple

from babygun.email.addresses import needs_smtputf8, to_ascii_domain
from babygun.smtp.connection import Capabilities, wire_form
from babygun.smtp.envelope import Envelope
from babygun.smtp.replies import Phase, Reply

# What may stand between the angle brackets of a path: nothing that ends it early and smuggles in a parameter or a command.
_PATH = re.compile(
    r'(?:"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*"|[^\s"<>\x00-\x1f\x7f]+)@[^\s"<>@\x00-\x1f\x7f]+'
)


class Prepared(NamedTuple):
    """``recipients`` and their RCPT commands, in order; ``refused``: those whom we refuse ourselves."""

    mail: bytes
    recipients: list[str]
    rcpts: list[bytes]
    content: bytes  # in wire_form
    refused: dict[str, Reply]


def prepare(envelope: Envelope, capabilities: Capabilities) -> Prepared:
    """The commands. Where nobody is left to send to, only ``refused`` counts. Raises what the envelope's ``message`` raises."""
    utf8 = envelope.needs_smtputf8 and capabilities.smtputf8
    recipients: list[str] = []
    rcpts: list[bytes] = []
    refused: dict[str, Reply] = {}
    sender = b""
    if envelope.sender:
        path = _path(envelope.sender, utf8, "mail")
        if isinstance(path, Reply):
            return _nobody(envelope, path)
        sender = path
    for recipient in dict.fromkeys(envelope.recipients):
        path = _path(recipient, utf8, "rcpt")
        if isinstance(path, Reply):
            refused[recipient] = path
        else:
            recipients.append(recipient)
            rcpts.append(b"RCPT TO:<%b>\r\n" % path)
    if not recipients:
        return Prepared(b"", [], [], b"", refused)
    try:
        message = envelope.message(capabilities.eight_bit, utf8)
    except ValueError as error:
        if utf8:
            raise
        if not capabilities.smtputf8:
            return _nobody(
                envelope,
                _refusal(
                    "mail",
                    553,
                    "5.6.7",
                    f"the server does not offer SMTPUTF8, which the message needs: {error}",
                ),
            )
        utf8 = True  # an address of the header needs it, though none of this envelope does
        message = envelope.message(capabilities.eight_bit, True)
    if capabilities.size and len(message) > capabilities.size:
        return _nobody(
            envelope,
            _refusal(
                "mail",
                552,
                "5.3.4",
                f"the message has {len(message)} bytes, the server takes {capabilities.size}",
            ),
        )
    parameters = b" SIZE=%d" % len(message) if capabilities.size_offered else b""
    if capabilities.eight_bit and (utf8 or not message.isascii()):
        parameters += b" BODY=8BITMIME"
    if utf8:
        parameters += b" SMTPUTF8"
    return Prepared(
        b"MAIL FROM:<%b>%b\r\n" % (sender, parameters),
        recipients,
        rcpts,
        wire_form(message),
        refused,
    )


def _path(address: str, utf8: bool, phase: Phase) -> bytes | Reply:
    """The address as it goes between the angle brackets, or why it can't."""
    if not _PATH.fullmatch(address):
        return _refusal(
            phase,
            553,
            "5.1.3",
            "not an address that can be sent to"
            if phase == "rcpt"
            else "not an address that can be a sender",
        )
    if address.isascii() or utf8:
        return address.encode()
    if needs_smtputf8(address):
        return _refusal(
            phase, 553, "5.6.7", "the server does not offer SMTPUTF8, which the address needs"
        )
    try:
        return to_ascii_domain(address).encode()
    except ValueError as error:
        return _refusal(phase, 553, "5.1.3", f"a domain without an ASCII form: {error}")


def _refusal(phase: Phase, code: int, enhanced: str, text: str) -> Reply:
    return Reply(phase, code, enhanced, f"{text} (refused by Babygun, nothing was sent)")


def _nobody(envelope: Envelope, reply: Reply) -> Prepared:
    return Prepared(b"", [], [], b"", dict.fromkeys(envelope.recipients, reply))
