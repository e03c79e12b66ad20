"""An e-mail as it goes over the wire: from a :class:`~babygun.email.model.Content` to the bytes between DATA and the final dot.

Python's own ``EmailMessage`` is a model of a message that can be read, changed and written; here only writing is needed, and
it stands on the path of every e-mail, so header fields and parts are written directly: the text fields in ``headers``, the
bodies in ``parts``, the whole of them here. What is written is checked in the tests by reading it with the standard library.

The structure, of which a level with a single part is left out:

    multipart/mixed
        multipart/alternative
            text/plain
            multipart/related
                text/html
                attachments that have a content_id (inline images)
        the other attachments
"""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from hashlib import blake2s

from babygun.email.addresses import needs_smtputf8 as address_needs_smtputf8
from babygun.email.addresses import parse_address, to_ascii_domain
from babygun.email.model import Content, Email
from babygun.mime.headers import FIELD_NAME, address_field, any_field, text_field
from babygun.mime.parts import Part, attachment_part, multipart, text_part

__all__ = ["message_id", "needs_smtputf8", "render"]

# Custom headers that are never written: Bcc must not be seen, the others describe the body, which is ours.
_NEVER = frozenset(
    {
        "bcc",
        "resent-bcc",
        "mime-version",
        "content-type",
        "content-transfer-encoding",
        "content-disposition",
    }
)
# At most one of each (RFC 5322, 3.6): the first is written. Ours come first, but for Date and Message-ID.
_ONCE = frozenset(
    {
        "from",
        "to",
        "cc",
        "reply-to",
        "subject",
        "date",
        "message-id",
        "sender",
        "in-reply-to",
        "references",
    }
)


def render(
    content: Content,
    *,
    message_id: str,
    date: datetime,
    smtputf8: bool = False,
    eight_bit: bool = False,
) -> bytes:
    """The message, its lines ended by CRLF, not dot-stuffed; the same bytes for the same arguments, so that a repeated try sends the same.

    ``date`` is aware. ``message_id`` and ``date`` give way to a custom Message-ID or Date header. ``smtputf8`` and ``eight_bit``: the server
    offers SMTPUTF8 (addresses stay UTF-8) and 8BITMIME. Raises ValueError for an address that isn't one, or that only SMTPUTF8 can carry.
    """
    custom = (
        [(name, value, name.lower()) for name, value in content.headers] if content.headers else []
    )
    names = {lower for _, _, lower in custom}
    lines = []
    if "date" not in names:
        lines.append("Date: " + _date(date.replace(microsecond=0), date.utcoffset()))
    lines.append(address_field("From", (content.sender,), smtputf8))
    if content.to:
        lines.append(address_field("To", content.to, smtputf8))
    elif not content.cc:
        lines.append(
            "To: undisclosed-recipients:;"
        )  # a message with blind recipients only: some filters distrust one without any
    if content.cc:
        lines.append(address_field("Cc", content.cc, smtputf8))
    if content.reply_to:
        lines.append(address_field("Reply-To", content.reply_to, smtputf8))
    if content.subject or "subject" not in names:
        lines.append(text_field("Subject", content.subject))
    if "message-id" not in names:
        lines.append(
            f"Message-ID: {message_id}"
            if message_id.startswith("<")
            else f"Message-ID: <{message_id}>"
        )
    if custom:
        present = {line.partition(":")[0].lower() for line in lines}
        for name, value, lower in custom:
            if (
                lower in _NEVER
                or (lower in _ONCE and lower in present)
                or not FIELD_NAME.match(name)
            ):
                continue
            present.add(lower)
            lines.append(any_field(name, value, smtputf8))
    body = _body(content, eight_bit, message_id)
    lines.append("MIME-Version: 1.0")
    lines.append(body.head)
    return b"".join(["\r\n".join(lines).encode(), b"\r\n\r\n", *body.chunks])


@lru_cache(maxsize=64)
def _date(second: datetime, _offset: timedelta | None) -> str:
    """E-mails come many to a second. The offset belongs to the key: the same instant in two zones compares equal."""
    return format_datetime(second)


def message_id(email: Email) -> str:
    """The Message-ID of an e-mail that brings none: the same for each try and every recipient, so that mailbox systems can tell a duplicate."""
    return f"<{email.id}@{to_ascii_domain(email.sender).rpartition('@')[2] or 'babygun.invalid'}>"


def needs_smtputf8(content: Content) -> bool:
    """Whether the header needs SMTPUTF8: an address that it shows has a local part beyond ASCII."""
    shown = (content.sender, *content.to, *content.cc, *content.reply_to)
    return any(
        not text.isascii() and address_needs_smtputf8(parse_address(text).email) for text in shown
    )


def _body(content: Content, eight_bit: bool, seed: str) -> Part:
    body, html = content.body, content.html
    if not content.attachments and not (body and html):  # most e-mails: one part
        return (
            text_part("html", html, eight_bit)
            if html
            else text_part("plain", body or "", eight_bit)
        )
    inline = [a for a in content.attachments if a.content_id] if html else []
    attached = [a for a in content.attachments if not (html and a.content_id)]
    plain_part = text_part("plain", body, eight_bit) if body else None
    html_part = text_part("html", html, eight_bit) if html else None
    inline_parts = [attachment_part(a, eight_bit, inline=True) for a in inline]
    attached_parts = [attachment_part(a, eight_bit, inline=False) for a in attached]
    boundary = _boundary(
        seed, [part for part in (plain_part, html_part, *inline_parts, *attached_parts) if part]
    )
    if html_part and inline_parts:
        html_part = multipart(
            "related", boundary + "r", [html_part, *inline_parts], ' type="text/html";'
        )
    texts = [part for part in (plain_part, html_part) if part]
    if len(texts) > 1:
        texts = [multipart("alternative", boundary + "a", texts)]
    parts = texts + attached_parts
    return parts[0] if len(parts) == 1 and texts else multipart("mixed", boundary + "m", parts)


def _boundary(seed: str, parts: list[Part]) -> str:
    """A boundary that no part holds. Its ``=_`` can't be in quoted-printable or base64; what goes as it is, is searched."""
    open_chunks = [chunk for part in parts if part.unencoded for chunk in part.chunks]
    number = 0
    while True:
        boundary = "=_" + blake2s(f"{seed} {number}".encode(), digest_size=12).hexdigest()
        needle = boundary.encode()
        if not any(needle in chunk for chunk in open_chunks):
            return boundary
        number += 1
