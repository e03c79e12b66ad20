"""Makes due what has waited long enough: once a second, straight from the not-before keys. No timer lives in memory."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.emails.schedule import make_due
from babygun.worker.slices import Slice

log = get_logger("worker")

INTERVAL = 1.0  # seconds
OVERDUE = 5.0  # seconds after which any worker does it, whoever's slice it is in
_PAGE = 500
_PAGES = 20  # in one round


async def make_due_once(store: Store, part: Slice) -> int:
    """One round; returns how many jobs it made ready."""
    now = utc_now()
    start, end = store.keys.waiting, store.keys.due_until(now)
    made = 0
    for _ in range(_PAGES):
        found = await store.client.range(start, end, limit=_PAGE)
        mine = []
        for kv in found.kvs:
            try:
                due, ref = store.keys.parse_not_before(kv.key)
            except ValueError as error:  # put there by hand
                log.error(
                    "key unreadable",
                    key=kv.key.decode(errors="replace"),
                    error=str(error),
                )
                continue
            if part.holds(ref.email_id) or now - due > timedelta(seconds=OVERDUE):
                mine.append(make_due(store, kv.key, kv.value))
        made += sum(await asyncio.gather(*mine))
        if not found.more:
            break
        start = found.kvs[-1].key + b"\0"
    return made
