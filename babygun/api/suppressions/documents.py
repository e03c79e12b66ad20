"""Suppressions as answers show them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from babygun.api.access.fields import ClientId
from babygun.api.emails.fields import EMAIL_ID, RecipientAddress
from babygun.email.model import client_id_of
from babygun.email.suppression import Suppression, SuppressionReason
from babygun.store.suppressions.listing import Suppressed

ADDRESS = "ann@example.org"
LIST = "news"

ListName = Annotated[
    str,
    Meta(
        description="The kind of mail that does not go there; * is all of the client's.",
        examples=["*"],
    ),
]
Reason = Annotated[SuppressionReason, Meta(examples=["hard_bounce"])]


class SuppressionDocument(msgspec.Struct, frozen=True, kw_only=True):
    """An address that a client's mail does not go to.

    ``until``: null: for ever. ``email_id``: the e-mail that bounced there; its code and reply are
    the server's. ``by``: who put it there, where a client did.
    """

    email: RecipientAddress
    list: ListName
    reason: Reason
    since: Annotated[datetime, Meta(examples=["2026-11-25T09:00:02.310000Z"])]
    until: Annotated[datetime | None, Meta(examples=["2027-02-23T09:00:02.310000Z"])]
    email_id: Annotated[str | None, Meta(examples=[EMAIL_ID])]
    status_code: Annotated[int | None, Meta(examples=[550])]
    enhanced_code: Annotated[str | None, Meta(examples=["5.1.1"])]
    reply: Annotated[str | None, Meta(examples=["No such user"])]
    by: str | None
    client_id: ClientId


class SuppressionList(msgspec.Struct, frozen=True):
    """A page. ``cursor``: for the next one; null at the end."""

    suppressions: list[SuppressionDocument]
    cursor: Annotated[str | None, Meta(examples=[None])]


def document_of(found: Suppressed) -> SuppressionDocument:
    return document(found.client_id, found.address, found.list, found.suppression)


def document(
    client_id: str, address: str, list_name: str, suppression: Suppression
) -> SuppressionDocument:
    """``client_id``: an identity."""
    return SuppressionDocument(
        email=address,
        list=list_name,
        reason=suppression.reason,
        since=suppression.since,
        until=suppression.until,
        email_id=suppression.email_id,
        status_code=suppression.status_code,
        enhanced_code=suppression.enhanced_code,
        reply=suppression.reply,
        by=suppression.by,
        client_id=client_id_of(client_id),
    )
