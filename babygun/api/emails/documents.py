"""What the calls on e-mails answer, made from the model. A field without a value is null."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from babygun.api.access.fields import ClientId
from babygun.api.emails.fields import (
    OTHER_ID,
    CreatedAt,
    EmailId,
    EnhancedCode,
    RecipientAddress,
    StatusCode,
    StatusOfRecipient,
    StatusReason,
)
from babygun.api.emails.site_states import HeldSite, held_site
from babygun.api.emails.tls_results import QueueTls, tls_of_queues
from babygun.api.emails.waits import QueueWait
from babygun.email import wide
from babygun.email.model import (
    Email,
    EmailStatus,
    RecipientKind,
    RecipientStatus,
    client_id_of,
)
from babygun.store.emails.listing import Page
from babygun.store.emails.reading import EmailView
from babygun.store.records import Owner
from babygun.store.sites.holds import Held

HoldOf = Callable[[str, str, str], Held | None]
"""The hold of a queue's site, or that of a sender's domain there. Given the queue, the sender's
domain, and the site that the queue's last try found."""


SuppressedAddresses = Annotated[
    list[str],
    Meta(
        description="The recipients that are suppressed. They are not tried.",
        examples=[[]],
    ),
]


class AcceptedEmail(msgspec.Struct, frozen=True):
    """The e-mail is stored and will be sent. ``recipients``: how many; duplicates count once.

    ``status``: incomplete; failed, if all recipients are suppressed.
    """

    id: EmailId
    status: Annotated[EmailStatus, Meta(examples=["incomplete"])]
    created_at: CreatedAt
    recipients: Annotated[int, Meta(examples=[1])]
    suppressed: SuppressedAddresses


class RecipientDocument(msgspec.Struct, frozen=True):
    """One recipient, and what became of it.

    ``status_code``, ``enhanced_code`` and ``status_reason`` are from the server's last reply.
    """

    email: RecipientAddress
    kind: Annotated[RecipientKind, Meta(examples=["to"])]
    status: StatusOfRecipient
    status_code: StatusCode
    enhanced_code: EnhancedCode
    status_reason: StatusReason
    reply_class: Annotated[
        str | None,
        Meta(
            description="How the reply was classified; docs/delivery.md explains the classes. For "
            "a suppressed recipient, the reason: hard_bounce, complaint, unsubscribe or manual.",
            examples=["delivered"],
        ),
    ]
    queue: Annotated[
        str, Meta(description="It says where the recipient's mail goes.", examples=["default"])
    ]
    tries: Annotated[int, Meta(examples=[1])]
    updated_at: Annotated[datetime | None, Meta(examples=["2026-11-25T09:00:00.171000Z"])]
    late: Annotated[
        bool,
        Meta(
            description="true for a late bounce: a server took the message, and a bounce message"
            " came back later.",
            examples=[False],
        ),
    ]
    complained_at: Annotated[
        datetime | None, Meta(description="When a provider reported that it calls this spam.")
    ]
    erased_at: Annotated[
        datetime | None,
        Meta(description="When its data were erased. A mark stands in place of the address."),
    ]


class ManyRecipients(msgspec.Struct, frozen=True):
    """The recipients of an e-mail with 17 queues or more, in numbers."""

    first: RecipientAddress
    total: Annotated[int, Meta(examples=[1000])]
    by_status: Annotated[dict[RecipientStatus, int], Meta(examples=[{"delivered": 1000}])]


class AttachmentDocument(msgspec.Struct, frozen=True):
    """An attachment without its bytes. ``size``: how many they are.

    ``alternative``: it also goes as an alternative of the text, as an invitation.
    """

    filename: Annotated[str, Meta(examples=["invoice.txt"])]
    content_type: Annotated[str, Meta(examples=["text/plain; charset=utf-8"])]
    content_id: str | None
    alternative: bool
    size: Annotated[int, Meta(examples=[16])]


class EmailSummary(msgspec.Struct, frozen=True, kw_only=True, rename={"list_name": "list"}):
    """An e-mail as the listing shows it, without its content.

    With 17 queues or more, ``recipients`` is empty here, and ``many`` says how many there are.
    """

    id: EmailId
    client_id: ClientId
    sender: Annotated[str, Meta(examples=["shop@example.com"])]
    subject: Annotated[str, Meta(examples=["Your order"])]
    recipients: list[RecipientDocument]
    created_at: CreatedAt
    updated_at: Annotated[datetime, Meta(examples=["2026-11-25T09:00:00.171000Z"])]
    not_before: Annotated[
        datetime | None, Meta(description="When it is tried next at the earliest, if it waits.")
    ]
    send_at: Annotated[
        datetime | None,
        Meta(description="When its client wanted it sent, if not at once. PATCH changes it."),
    ]
    status: Annotated[EmailStatus, Meta(examples=["complete"])]
    status_reason: Annotated[
        str | None, Meta(description="How many recipients were not reached, and why.")
    ]
    tries: Annotated[int, Meta(examples=[1])]
    worker_id: Annotated[
        str | None,
        Meta(
            description="The worker that sends it now, or that sent it last.",
            examples=["mail-1-8f3a1c9e20"],
        ),
    ]
    tags: Annotated[list[str], Meta(examples=[["order"]])]
    metadata: Annotated[dict[str, str], Meta(examples=[{"order": "4711"}])]
    size: Annotated[int, Meta(description="Bytes of the content as it is stored.", examples=[210])]
    sending: Annotated[
        list[str], Meta(description="The queues that are being sent now.", examples=[[]])
    ]
    expires_at: Annotated[
        datetime | None, Meta(description="When it ends, if its request said so.")
    ]
    held: Annotated[
        list[HeldSite],
        Meta(description="Why it waits, if sites of its queues are held.", examples=[[]]),
    ]
    list_name: Annotated[
        str | None,
        Meta(
            description="Which mail its recipients can unsubscribe from by its links; `*`: all of"
            " the client's. Null: it has no such links.",
            examples=[None],
        ),
    ]
    many: Annotated[
        ManyRecipients | None,
        Meta(description="Only for an e-mail with 17 queues or more.", examples=[None]),
    ]
    revision: Annotated[
        int,
        Meta(
            description="The state of an e-mail with the higher number is the newer one.",
            examples=[4711],
        ),
    ]


class EmailDocument(EmailSummary, frozen=True, kw_only=True):
    """An e-mail.

    Its content (``to``, ``cc``, ``bcc``, ``body``, ``html``, ``headers``, ``reply_to``,
    ``attachments``) is null when it is not kept any more.
    """

    to: Annotated[
        list[str] | None,
        Meta(description="As the request gave them.", examples=[["Ann <ann@example.org>"]]),
    ]
    cc: Annotated[list[str] | None, Meta(examples=[[]])]
    bcc: Annotated[list[str] | None, Meta(examples=[[]])]
    body: Annotated[str | None, Meta(examples=["Thank you!\n"])]
    html: str | None
    headers: Annotated[
        list[str] | None,
        Meta(description="The custom headers as Name: value lines.", examples=[["X-Order: 4711"]]),
    ]
    reply_to: Annotated[list[str] | None, Meta(examples=[[]])]
    attachments: list[AttachmentDocument] | None
    content_expired: bool
    waits: Annotated[
        list[QueueWait],
        Meta(
            description="Why each queue that is not final waits, at most 100 of them.",
            examples=[[]],
        ),
    ]
    tls: Annotated[
        list[QueueTls],
        Meta(
            description="What the last try of each queue got of TLS; a queue whose last try had no"
            " connection is left out."
        ),
    ]


class EmailList(msgspec.Struct, frozen=True):
    """E-mails, newest first. A filtered page can be empty though more pages follow.

    Stop only when ``cursor`` is null.
    """

    emails: list[EmailSummary]
    cursor: Annotated[str | None, Meta(examples=[None, OTHER_ID])]


def email_document(view: EmailView, hold_of: HoldOf, waits: list[QueueWait]) -> EmailDocument:
    content = view.content
    summary = msgspec.structs.asdict(email_summary(view.email, view.owners, hold_of, view.revision))
    summary["sender"] = content.sender if content else view.email.sender
    return EmailDocument(
        **summary,
        to=list(content.to) if content else None,
        cc=list(content.cc) if content else None,
        bcc=list(content.bcc) if content else None,
        body=content.body if content else None,
        html=content.html if content else None,
        headers=[f"{name}: {value}" for name, value in content.headers] if content else None,
        reply_to=list(content.reply_to) if content else None,
        attachments=[
            AttachmentDocument(
                a.filename, a.content_type, a.content_id, a.alternative, len(a.content)
            )
            for a in content.attachments
        ]
        if content
        else None,
        content_expired=content is None,
        waits=waits,
        tls=tls_of_queues(view.email),
    )


def email_summary(
    email: Email, owners: Mapping[str, Owner], hold_of: HoldOf, revision: int
) -> EmailSummary:
    """``owners``: by queue, who is sending it now. ``revision``: of etcd, when it was so."""
    sending = sorted(owners.items(), key=lambda item: item[1].since)
    return EmailSummary(
        id=email.id,
        client_id=client_id_of(email.client_id),
        sender=email.sender,
        subject=email.subject,
        recipients=[
            msgspec.convert(recipient, RecipientDocument, from_attributes=True)
            for recipient in email.recipients
        ],
        created_at=email.created_at,
        updated_at=email.updated_at,
        not_before=email.not_before,
        send_at=email.send_at,
        status=email.status,
        status_reason=email.status_reason,
        tries=email.tries,
        worker_id=sending[-1][1].worker_id if sending else email.worker_id,
        tags=list(email.tags),
        metadata=email.metadata,
        size=email.size,
        sending=[queue for queue, _ in sending],
        expires_at=email.expires_at,
        held=[held_site(held.hold) for held in holds_of(email, hold_of)],
        list_name=email.list or None,
        many=_many(email, email.wide.first) if email.wide else None,
        revision=revision,
    )


def _many(email: Email, first: str) -> ManyRecipients:
    by_status = wide.count_by_status(email)
    return ManyRecipients(first, sum(by_status.values()), by_status)


def holds_of(email: Email, hold_of: HoldOf) -> list[Held]:
    """The holds at which queues of the e-mail wait that are not final."""
    if email.final:
        return []
    sender = email.sender.rpartition("@")[2].lower()
    found = {
        held.hold.name: held
        for queue, state in email.queues.items()
        if not state.final and (held := hold_of(queue, sender, state.site))
    }
    return list(found.values())


def email_list(page: Page, hold_of: HoldOf) -> EmailList:
    return EmailList(
        [
            email_summary(email, page.owners.get(email.id, {}), hold_of, page.revision)
            for email in page.emails
        ],
        page.cursor,
    )
