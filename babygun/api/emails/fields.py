"""Fields that several documents on e-mails have, with their examples."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from babygun.email.model import RecipientStatus

EMAIL_ID = "019ab8c2-7f41-7d3a-9c55-2b7e4f1a90c8"
OTHER_ID = "019ab8c2-6a10-7b44-8d21-5e0c3a77d4f2"

EmailId = Annotated[str, Meta(examples=[EMAIL_ID])]
CreatedAt = Annotated[datetime, Meta(examples=["2026-11-25T09:00:00.120000Z"])]
RecipientAddress = Annotated[str, Meta(examples=["ann@example.org"])]
StatusOfRecipient = Annotated[RecipientStatus, Meta(examples=["delivered"])]
StatusCode = Annotated[int | None, Meta(examples=[250])]
EnhancedCode = Annotated[str | None, Meta(examples=["2.0.0"])]
StatusReason = Annotated[str | None, Meta(examples=["Ok: queued as 4F2A91C03D"])]
QueueName = Annotated[str, Meta(examples=["default"])]
WorkerId = Annotated[str | None, Meta(examples=["mail-1-8f3a1c9e20"])]
