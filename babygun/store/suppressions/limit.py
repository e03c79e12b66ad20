"""How many addresses the calls of one client may put on its lists.

Without a limit a client could fill etcd by imports. A bounce, a complaint and a person who
unsubscribes are not refused: their mail must not go on.
"""

from __future__ import annotations

import time

from msgspec import Struct

from babygun.errors import Conflict
from babygun.store.keys import range_end
from babygun.store.store import Store

# etcd counts a million keys in a tenth of a second. So a count is used for a while.
_KEPT, _KEPT_AT_THE_LIMIT = 60.0, 5.0  # s
_MOST_CLIENTS = 1000


class _Count(Struct):
    """``there``: as etcd counted, and what was added here since. ``at``: monotonic."""

    there: int
    at: float


class SuppressionLimit:
    """Of one API process. Processes that add at the same time may exceed it a little."""

    def __init__(self, store: Store) -> None:
        self._store, self._most = store, store.settings.max_suppressions
        self._counts: dict[str, _Count] = {}

    async def take(self, client_id: str, more: int) -> None:
        """Counts ``more`` new suppressions of a client, named with its serial.

        Raises Conflict where there are too many, and EtcdError.
        """
        if not self._most or not more:
            return
        count = self._counts.get(client_id)
        now = time.monotonic()
        full = count is not None and count.there + more > self._most
        if count is None or now - count.at > (_KEPT_AT_THE_LIMIT if full else _KEPT):
            count = await self._read(client_id, now)
        if count.there + more > self._most:
            raise Conflict(
                f"this client has {count.there:,} suppressions, and may have {self._most:,}:"
                " take off what is not needed, or ask an operator to raise the setting"
                " max_suppressions"
            )
        count.there += more

    async def _read(self, client_id: str, now: float) -> _Count:
        prefix = self._store.keys.client_suppressions(client_id)
        found = await self._store.client.range(prefix, range_end(prefix), limit=1, keys_only=True)
        if len(self._counts) >= _MOST_CLIENTS:
            self._counts.clear()
        count = self._counts[client_id] = _Count(found.count, now)
        return count
