"""What a message has to say, as one digest: of what was asked, and of what was received.

It does not depend on how the message is encoded, so equal digests mean equal content.
"""

from __future__ import annotations

import email
import hashlib
import itertools
import re
from collections.abc import Sequence
from email.policy import default
from typing import NamedTuple

import msgspec

_ADDRESS = re.compile(r"[^\s<>,;:]+@[^\s<>,;:]+")


class Parsed(NamedTuple):
    """A message as a mail program sees it. ``shown``: all addresses in its header."""

    subject: str
    message_id: str
    shown: tuple[str, ...]
    digest: str


def digest(subject: str, body: str, attachments: Sequence[tuple[str, bytes]]) -> str:
    """The digest of a content, without empty lines at its end. ``attachments``: names and bytes."""
    parts = [subject, body.replace("\r\n", "\n").rstrip("\n"), *attachments]
    return hashlib.blake2b(msgspec.msgpack.encode(parts), digest_size=12).hexdigest()


def parse(message: bytes) -> Parsed:
    """Reads a message by the standard library, which has nothing of ours."""
    parsed = email.message_from_bytes(message, policy=default)
    text = parsed.get_body(("plain",))
    attachments = [
        (part.get_filename() or "", bytes(part.get_payload(decode=True) or b""))
        for part in parsed.iter_attachments()
    ]
    shown = [_ADDRESS.findall(str(v)) for name, v in parsed.items() if name != "Message-ID"]
    subject = str(parsed["Subject"] or "")
    return Parsed(
        subject,
        str(parsed["Message-ID"] or ""),
        tuple(itertools.chain(*shown)),
        digest(subject, text.get_content() if text is not None else "", attachments),
    )
