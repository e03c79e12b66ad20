"""Reads the notices of one webhook from etcd into its backlog: what is ready, and what is due.

No timer lives in memory. A notice that waits has its time in its key, and only the webhook's owner
writes such keys. So the owner knows when the next one is due.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from babygun.errors import EtcdError
from babygun.runtime.logs import get_logger
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.webhooks.notices import StoredNotice, finish, read_due, read_ready
from babygun.store.webhooks.records import Notice
from babygun.webhooks.backlog import Backlog
from babygun.webhooks.shared import Shared
from babygun.webhooks.tries import given_up

log = get_logger("webhooks")

_READ_AGAIN = 0.5  # s, after a read that failed
_GIVE_UP_AGAIN = 0.5  # s, after which there may be more to end
_ALL = datetime.max.replace(tzinfo=UTC)
_PAGE = 100  # notices of a webhook that is off, in one read and one write


class Feed:
    """Fills ``backlog``. Run :meth:`read` while it is :attr:`wanted`."""

    def __init__(self, shared: Shared, webhook_id: str, backlog: Backlog) -> None:
        self._shared, self._store, self._webhook_id = shared, shared.store, webhook_id
        self._backlog = backlog
        # When the next notice is due; at first it is not known.
        self._next_due: datetime | None = shared.now()
        self._after = b""  # the key that the next read goes on behind

    @property
    def wanted(self) -> bool:
        """Whether a read may bring something that has room."""
        return self._backlog.is_low and (self._backlog.more or self._is_due)

    @property
    def _is_due(self) -> bool:
        return self._next_due is not None and self._next_due <= self._shared.now()

    def note_due(self, due: datetime) -> None:
        """A notice waits until then."""
        self._next_due = due if self._next_due is None else min(due, self._next_due)

    async def read(self) -> None:
        """Reads what is due, then what is ready, as far as there is room."""
        try:
            if self._is_due:
                await self._read_due()
            if self._backlog.more:
                await self._read_ready()
        except EtcdError as error:
            log.warning("notices not read", webhook_id=self._webhook_id, error=str(error))
            self._backlog.stop_read()
            self.note_due(self._shared.now())
            await asyncio.sleep(_READ_AGAIN)

    async def _read_due(self) -> None:
        backlog, now = self._backlog, self._shared.now()
        self._next_due = None  # a write may set it meanwhile
        limit = backlog.most + backlog.known
        backlog.begin_due()
        found, due = await read_due(self._store, self._webhook_id, now, limit)
        if not backlog.add_due(found):
            due = now
        if due is not None:
            self.note_due(due)

    async def _read_ready(self) -> None:
        """Goes on behind what the last read found; from the first, if some were passed over."""
        backlog = self._backlog
        limit = backlog.most
        if not self._after:
            backlog.missed, limit = False, limit + backlog.known
        backlog.begin_read(from_first=not self._after)
        found, more, revision = await read_ready(self._store, self._webhook_id, limit, self._after)
        if not self._after:
            backlog.read_at = revision
        taken = backlog.end_read(found, more=more)
        if not more and taken == len(found):
            self._after = b""  # the end: what was passed over is found from the first on
        elif taken:
            self._after = found[taken - 1].key

    async def give_up(self, client_id: str, token: int, reason: str) -> None:
        """Ends all notices without a try: they have failed, and can be sent again if asked for.

        It does so only while the webhook is off: one that was switched on a moment ago may have new
        notices. If there may be more to end, the backlog says so.
        """
        self._backlog.clear()
        self._backlog.more = False
        try:
            done = await self._end_all(client_id, token, reason)
        except EtcdError as error:
            log.warning("notices not read", webhook_id=self._webhook_id, error=str(error))
            done = False
        if not done:
            self._backlog.more = True
            await asyncio.sleep(_GIVE_UP_AGAIN)

    async def _end_all(self, client_id: str, token: int, reason: str) -> bool:
        """False: there may be more to end. Raises EtcdError."""
        store, webhook_id = self._store, self._webhook_id
        while True:
            known = store.webhooks.of(client_id)
            webhook = known.webhooks.get(webhook_id) if known.webhooks else None
            if webhook is None or webhook.enabled:
                return False
            found = (await read_ready(store, webhook_id, _PAGE)).notices
            if not found:
                found, _ = await read_due(store, webhook_id, _ALL, _PAGE)
            now = self._shared.now()
            outcomes = [
                given_up(stored, notice, reason, now)
                for stored in found
                if (notice := decoded(stored)) is not None
            ]
            if not outcomes:
                self._next_due = None
                return True
            off = store.webhooks.compare(client_id, known)
            if not await finish(store, webhook_id, token, outcomes, only_if=[off]):
                return False


def decoded(stored: StoredNotice) -> Notice | None:
    """None: it can't be read; somebody wrote it by hand."""
    try:
        return codec.decode_notice(stored.value)
    except ValueError as error:
        log_unreadable(stored.key, error)
        return None
