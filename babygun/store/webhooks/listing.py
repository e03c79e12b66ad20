"""What was sent to a webhook, and what waits: the newest event first, page by page."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from babygun.store.store import Store
from babygun.store.webhooks.records import Notice, NoticeState


class Delivery(NamedTuple):
    """A notice. ``next_try_at``: None if it is ready now, sent, or failed."""

    event_id: str
    notice: Notice
    next_try_at: datetime | None


class Page(NamedTuple):
    """``cursor``: where the next page begins; None: there is none."""

    deliveries: list[Delivery]
    cursor: str | None


async def list_notices(
    store: Store, webhook_id: str, *, state: NoticeState | None, limit: int, cursor: str | None
) -> Page:
    """A page of a webhook's notices. Raises ValueError on a cursor of another form, EtcdError."""
    raise NotImplementedError
