"""The request to send an e-mail: its fields, their rules, and the content it becomes.

Recipients, headers, attachments, tags and times have their rules in modules of their own.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import Annotated

from msgspec import Meta, Struct

from babygun.email.addresses import parse_sender
from babygun.email.model import Content, Recipient
from babygun.email.suppression import ALL_MAIL, parse_list_name
from babygun.errors import sentence
from babygun.intake.attachments import MAX_ATTACHMENTS, AttachmentRequest, check_attachments
from babygun.intake.broken_rules import BrokenRules
from babygun.intake.headers import MAX_HEADERS, MAX_HEADERS_BYTES, check_headers
from babygun.intake.recipients import (
    Addresses,
    Entry,
    RecipientRequest,
    check_address,
    check_recipients,
    entries_of,
)
from babygun.intake.sender_domains import SenderRule
from babygun.intake.tags import Metadata, Tags, check_metadata, check_tags
from babygun.intake.times import SendAt, check_expires_at, check_send_at
from babygun.routing.routes import Routes
from babygun.runtime.settings import Settings

MAX_SUBJECT = 2000  # characters
MAX_REPLY_TO = 100
# What a link to unsubscribe is written in.
_OWN_HEADERS = ("list-unsubscribe", "list-unsubscribe-post")


class UnsubscribeRequest(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The kind of mail that a recipient can unsubscribe from."""

    list: Annotated[
        str,
        Meta(
            description="Its name: 1 to 64 letters, digits and _ . - or `*`, for all your mail.",
            examples=["news"],
        ),
    ]


class EmailRequest(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """An e-mail to send. It needs a recipient in ``to``, ``cc``, ``bcc`` or ``recipients``.

    Addresses of one mailbox are merged: to counts before cc, cc before bcc. A field that is null
    counts as left out.
    """

    sender: Annotated[
        str,
        Meta(
            description="The From address, with or without a display name. "
            "It is the envelope's sender, too."
        ),
    ]
    to: Annotated[
        Addresses, Meta(description="One address or a list, each with or without a display name.")
    ] = None
    cc: Annotated[Addresses, Meta(description="Like to.")] = None
    bcc: Annotated[Addresses, Meta(description="Like to. No recipient sees them.")] = None
    recipients: Annotated[
        list[RecipientRequest] | None,
        Meta(description="Recipients with their kind, beside or instead of to, cc and bcc."),
    ] = None
    reply_to: Annotated[Addresses, Meta(description="Where answers go.")] = None
    subject: Annotated[
        str | None, Meta(description=f"At most {MAX_SUBJECT} characters, without line breaks.")
    ] = None
    body: Annotated[
        str | None, Meta(description="Plain text. Without body and html the message is empty.")
    ] = None
    html: Annotated[
        str | None,
        Meta(description="HTML. With body it is the alternative that mail programs prefer."),
    ] = None
    headers: Annotated[
        dict[str, str] | list[str] | None,
        Meta(
            description="Further headers: an object, or a list of `Name: value` lines. "
            f"At most {MAX_HEADERS}, together {MAX_HEADERS_BYTES} bytes."
        ),
    ] = None
    attachments: Annotated[
        list[AttachmentRequest] | None, Meta(description=f"At most {MAX_ATTACHMENTS} files.")
    ] = None
    send_at: SendAt | None = None
    expires_at: (
        Annotated[
            datetime,
            Meta(
                tz=True,
                description="When to give up: RFC 3339 with an offset, later than now and than "
                "`send_at`. No try begins after it; a recipient not reached by then is expired.",
            ),
        ]
        | None
    ) = None
    tags: Tags = None
    metadata: Metadata = None
    unsubscribe: Annotated[
        bool | UnsubscribeRequest | None,
        Meta(
            description="Adds a link to unsubscribe in one click (RFC 8058), another one for each "
            "recipient: from the mail of one list, or with `true` from all your mail. Each "
            "recipient gets a copy of its own. docs/suppressions.md says what follows."
        ),
    ] = None
    ignore_suppressions: Annotated[
        bool | None,
        Meta(
            description="true: send it to suppressed addresses, too, as a password reset. "
            "It needs the scope suppressions:ignore."
        ),
    ] = None


class CheckedEmail(Struct, frozen=True, gc=False):
    """An e-mail that breaks no rule. ``sender``: the bare address. ``send_at``: None for now.

    ``list``: which mail its recipients can unsubscribe from; empty: it has no links for that.
    """

    sender: str
    recipients: tuple[Recipient, ...]
    content: Content
    tags: tuple[str, ...]
    metadata: dict[str, str]
    send_at: datetime | None
    expires_at: datetime | None
    list: str


_parse_sender = lru_cache(maxsize=256)(parse_sender)  # a client has few senders
_line_break = re.compile(r"[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]").search
_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]").search


def sender_of(request: EmailRequest) -> str:
    """The bare address of the sender; empty if it is not valid."""
    try:
        return _parse_sender(request.sender).email
    except ValueError:
        return ""


def check_request(
    request: EmailRequest,
    routes: Routes,
    settings: Settings,
    sender_rule: SenderRule | None = None,
) -> CheckedEmail:
    """Applies every rule. Raises InvalidEmail with all the rules that the request breaks.

    ``sender_rule``: the client's, if not every sender may send.
    """
    broken = BrokenRules()
    sender = check_address(request.sender, "sender", broken, _parse_sender)
    if sender_rule and sender:
        sender_rule(sender, broken)
    recipients = check_recipients(_entries(request), routes, settings.max_recipients, broken)
    headers = check_headers(request.headers, broken) if request.headers else ()
    if request.subject:
        _check_subject(request.subject, broken)
    if request.body:
        _check_text(request.body, "body", settings.max_body, broken)
    if request.html:
        _check_text(request.html, "html", settings.max_body, broken)
    reply_to = _check_reply_to(request.reply_to, broken) if request.reply_to else ()
    attachments = (
        check_attachments(request.attachments, settings.max_attachments, broken)
        if request.attachments
        else ()
    )
    if request.tags:
        check_tags(request.tags, broken)
    if request.metadata:
        check_metadata(request.metadata, broken)
    list_name = _check_unsubscribe(request, headers, settings, broken)
    send_at = check_send_at(request.send_at, broken)
    expires_at = check_expires_at(request.expires_at, send_at, broken)
    broken.raise_if_any()
    content = Content(
        sender=request.sender.strip(),
        subject=request.subject or "",
        to=recipients.to,
        cc=recipients.cc,
        bcc=recipients.bcc,
        reply_to=reply_to,
        headers=headers,
        body=request.body,
        html=request.html,
        attachments=attachments,
    )
    return CheckedEmail(
        sender,
        recipients.envelope,
        content,
        tags=tuple(dict.fromkeys(request.tags or ())),
        metadata=request.metadata or {},
        send_at=send_at,
        expires_at=expires_at,
        list=list_name,
    )


def _entries(request: EmailRequest) -> list[Entry]:
    """Every address of the request, in the order in which the kinds are given."""
    entries = entries_of("to", request.to, "to")
    if request.cc:
        entries += entries_of("cc", request.cc, "cc")
    if request.bcc:
        entries += entries_of("bcc", request.bcc, "bcc")
    for index, recipient in enumerate(request.recipients or ()):
        entries.append(Entry(f"recipients[{index}].email", recipient.email, recipient.kind))
    return entries


def _check_reply_to(given: Addresses, broken: BrokenRules) -> tuple[str, ...]:
    entries = entries_of("reply_to", given, "to")
    if len(entries) > MAX_REPLY_TO:
        broken.report(
            "reply_to", f"There are {len(entries)} addresses; at most {MAX_REPLY_TO} are taken."
        )
        return ()
    for entry in entries:
        check_address(entry.text, entry.field, broken)
    return tuple(entry.text.strip() for entry in entries)


def _check_subject(subject: str, broken: BrokenRules) -> None:
    if len(subject) > MAX_SUBJECT:
        broken.report(
            "subject",
            f"The subject has {len(subject)} characters; at most {MAX_SUBJECT} are taken.",
        )
    if _line_break(subject):
        broken.report("subject", "The subject must not hold line breaks.")
    elif _control(subject):
        broken.report("subject", "The subject must not hold control characters.")


def _check_text(text: str, field: str, max_bytes: int, broken: BrokenRules) -> None:
    # A character has at most 4 bytes, so most texts need not be encoded.
    if len(text) * 4 > max_bytes and (size := len(text.encode())) > max_bytes:
        broken.report(
            field,
            f"It has {size} bytes; at most {max_bytes} are taken (setting max_body).",
            too_large=True,
        )
    if "\0" in text:
        broken.report(field, "It must not hold NUL characters.")


def _check_unsubscribe(
    request: EmailRequest,
    headers: tuple[tuple[str, str], ...],
    settings: Settings,
    broken: BrokenRules,
) -> str:
    """The name of the list; empty: no link is wanted."""
    wanted = request.unsubscribe
    if not wanted:
        return ""
    if not settings.public_url:
        broken.report(
            "unsubscribe",
            "Links to unsubscribe need the setting public_url: the URL at which recipients reach"
            " this API. An operator can set it.",
        )
    for name, _ in headers:
        if name.lower() in _OWN_HEADERS:
            broken.report(
                "unsubscribe", f"It makes the header {name}, which is given too: leave one out."
            )
    if wanted is True:
        return ALL_MAIL
    try:
        return parse_list_name(wanted.list)
    except ValueError as error:
        broken.report("unsubscribe.list", sentence(error))
        return ""
