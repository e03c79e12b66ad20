"""Makes due what has waited long enough, once a second. No timer lives in memory."""

from __future__ import annotations

from datetime import datetime, timedelta

from babygun.consumer.slices import Slice
from babygun.store import Store
from babygun.store.emails.schedule import make_all_due
from babygun.store.keys import JobRef

INTERVAL = 1.0  # seconds
OVERDUE = 5.0  # seconds after which any worker makes it due, also outside of its slice


async def make_due_once(store: Store, part: Slice) -> int:
    """One round; returns how many jobs it made ready."""
    now = await store.clock.now()

    def takes(ref: JobRef, due: datetime) -> bool:
        return part.holds(ref.email_id) or now - due > timedelta(seconds=OVERDUE)

    return await make_all_due(store, now, takes)
