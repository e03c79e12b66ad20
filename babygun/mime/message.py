"""The message of an e-mail: from its :class:`~babygun.email.model.Content` to bytes.

The standard library's ``EmailMessage`` models a message that can be read, changed and written. This
only writes, and every e-mail passes here, so fields and parts are written directly. The tests read
what is written with the standard library.

The structure is as follows. A level with a single part is left out.

    multipart/mixed, or multipart/report of what programs are to read (RFC 6522)
        multipart/alternative
            text/plain
            multipart/related
                text/html
                attachments that the HTML shows (inline images)
            text/calendar, if an attachment is an invitation
        the other attachments, the invitation too
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache, partial
from hashlib import blake2s
from html import unescape
from urllib.parse import unquote as percent_unquote

from babygun.email.addresses import needs_smtputf8 as address_needs_smtputf8
from babygun.email.addresses import parse_address, to_ascii_domain
from babygun.email.model import Content, Email, client_id_of
from babygun.email.suppression import ALL_MAIL
from babygun.mime.headers import address_field, custom_field, text_field
from babygun.mime.parts import Part, attachment_part, invitation_part, multipart, text_part

_from_field = lru_cache(maxsize=256)(partial(address_field, "From"))  # a client has few senders
_cid = re.compile(r"\bcid:([^\s\"'<>]{1,1000})", re.IGNORECASE).findall


def render(
    content: Content,
    *,
    message_id: str,
    date: datetime,
    smtputf8: bool = False,
    eight_bit: bool = False,
    feedback_id: str = "",
) -> bytes:
    """The message: lines end with CRLF, dots are not stuffed.

    The same arguments give the same bytes, so a repeated try sends the same message.
    ``date`` is aware. ``smtputf8``: the server offers SMTPUTF8, so addresses stay UTF-8; without
    it, those that need it are left out of the header. ``eight_bit``: it offers 8BITMIME.
    ``feedback_id``: the header field, unless the client gives one.
    Raises ValueError for an address that is not one, for a sender that only SMTPUTF8 can carry, and
    for a header that acceptance refuses.
    """
    custom = {name.lower() for name, _ in content.headers}
    lines = _own_fields(content, custom, message_id, date, smtputf8)
    if feedback_id and "feedback-id" not in custom:
        lines.append(f"Feedback-ID: {feedback_id}")
    if content.headers:
        lines += [custom_field(name, value) for name, value in content.headers]
    body = _body(content, eight_bit, message_id)
    lines.append("MIME-Version: 1.0")
    lines.append(body.head)
    return b"".join(["\r\n".join(lines).encode(), b"\r\n\r\n", *body.chunks])


def _own_fields(
    content: Content, custom: set[str], message_id: str, date: datetime, smtputf8: bool
) -> list[str]:
    """The header fields that Babygun writes. A new one is added here.

    A Date or Message-ID of the client's stands instead of ours. ``custom``: the names of the
    client's own fields, in lower case.
    """
    fields = []
    if "date" not in custom:
        fields.append("Date: " + _date(date.replace(microsecond=0), date.utcoffset()))
    fields.append(_from_field((content.sender,), smtputf8))
    if content.to:
        fields.append(address_field("To", content.to, smtputf8))
    elif not content.cc:
        # Blind recipients only. Some spam filters distrust a message without any address field.
        fields.append("To: undisclosed-recipients:;")
    if content.cc:
        fields.append(address_field("Cc", content.cc, smtputf8))
    if content.reply_to:
        fields.append(address_field("Reply-To", content.reply_to, smtputf8))
    fields.append(text_field("Subject", content.subject))
    if "message-id" not in custom:
        bracketed = message_id if message_id.startswith("<") else f"<{message_id}>"
        fields.append(f"Message-ID: {bracketed}")
    return fields


@lru_cache(maxsize=64)
def _date(second: datetime, _offset: timedelta | None) -> str:
    """Cached, since many e-mails come in one second.

    The offset is part of the key: one instant in two time zones compares equal.
    """
    return format_datetime(second)


def with_unsubscribe_link(message: bytes, url: str) -> bytes:
    """A rendered message with a link by which one recipient ends such mail in one step.

    RFC 2369, 3.2; RFC 8058, 3.1. The URL is one line: it is not folded, and has at most 900
    characters. The body is not rendered again, since each recipient gets such a copy.
    """
    return (
        f"List-Unsubscribe: <{url}>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    ).encode("ascii") + message


def message_id(email: Email) -> str:
    """The Message-ID of an e-mail that brings none.

    It is the same for each try and every recipient, so that mailbox systems recognise a duplicate.
    """
    return f"<{email.id}@{to_ascii_domain(email.sender).rpartition('@')[2] or 'babygun.invalid'}>"


def feedback_id(email: Email, sender_id: str) -> str:
    """What Gmail counts complaints by: the first tag, the list, the client and the sender's id.

    Parts that an e-mail lacks are left out: Gmail reads from the right.
    """
    tag = email.tags[0].replace(":", ".") if email.tags else ""
    kind = "" if email.list == ALL_MAIL else email.list
    return ":".join(filter(None, (tag, kind, client_id_of(email.client_id), sender_id)))


def heeds_tls_policies(content: Content) -> bool:
    """Whether TLS policies keep a message back. TLS-Required: No says that none does (RFC 8689)."""
    return not any(
        name.lower() == "tls-required" and value.strip().lower() == "no"
        for name, value in content.headers
    )


def needs_smtputf8(content: Content) -> bool:
    """Whether the header needs SMTPUTF8: a shown address has a local part that is not ASCII."""
    shown = (content.sender, *content.to, *content.cc, *content.reply_to)
    return any(
        not text.isascii() and address_needs_smtputf8(parse_address(text).email) for text in shown
    )


def _body(content: Content, eight_bit: bool, seed: str) -> Part:
    body, html = content.body, content.html
    if not content.attachments and not (body and html):  # most e-mails: one part
        if html:
            return text_part("html", html, eight_bit)
        return text_part("plain", body or "", eight_bit)
    shown = _shown_ids(html) if html and content.attachments else frozenset()
    inline = [a for a in content.attachments if a.content_id in shown]
    attached = [a for a in content.attachments if a.content_id not in shown]
    plain_part = text_part("plain", body, eight_bit) if body else None
    html_part = text_part("html", html, eight_bit) if html else None
    invitations = [invitation_part(a, eight_bit) for a in content.attachments if a.alternative]
    inline_parts = [attachment_part(a, eight_bit, inline=True) for a in inline]
    attached_parts = [attachment_part(a, eight_bit, inline=False) for a in attached]
    texts = [part for part in (plain_part, html_part) if part]
    boundary = _boundary(seed, [*texts, *invitations, *inline_parts, *attached_parts])
    if html_part and inline_parts:
        texts[-1] = multipart(
            "related", boundary + "r", [html_part, *inline_parts], ' type="text/html";'
        )
    texts += invitations
    if len(texts) > 1:
        texts = [multipart("alternative", boundary + "a", texts)]
    parts = texts + attached_parts
    if content.report:
        return multipart("report", boundary + "m", parts, f" report-type={content.report};")
    return parts[0] if len(parts) == 1 and texts else multipart("mixed", boundary + "m", parts)


def _shown_ids(html: str) -> frozenset[str]:
    """The content ids that an HTML text names by ``cid:`` (RFC 2392), escaped or not."""
    found = set()
    for written in _cid(html):
        bare = unescape(written)
        for each in (bare, bare.partition(")")[0]):  # in CSS: url(cid:logo)
            found |= {each, percent_unquote(each)}
    return frozenset(found)


def _boundary(seed: str, parts: list[Part]) -> str:
    """A boundary that no part holds.

    Quoted-printable and base64 can't hold its ``=_``. Parts that are not encoded are searched.
    """
    unencoded = [chunk for part in parts if part.unencoded for chunk in part.chunks]
    number = 0
    while True:
        boundary = "=_" + blake2s(f"{seed} {number}".encode(), digest_size=12).hexdigest()
        needle = boundary.encode()
        if not any(needle in chunk for chunk in unencoded):
            return boundary
        number += 1
