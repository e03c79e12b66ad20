"""Sends events again that were sent, or have failed, and are kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from babygun.store.store import Store


async def replay_ids(store: Store, webhook_id: str, event_ids: Sequence[str]) -> list[str]:
    """Makes notices ready again; returns the ids of those that are kept. Raises EtcdError."""
    raise NotImplementedError


async def replay_between(
    store: Store, webhook_id: str, since: datetime, until: datetime, cursor: str | None
) -> tuple[int, str | None]:
    """Makes those ready again that happened in [since, until); returns how many.

    One call takes a bounded number. Then it returns a cursor, too, from which to go on. Raises
    ValueError on a cursor of another form, EtcdError.
    """
    raise NotImplementedError
