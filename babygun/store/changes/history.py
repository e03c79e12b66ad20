"""Changes since a position, read from etcd's history by two watches of their own.

The reading ends at the feed's position. A compaction deletes etcd's history after a short time. A
listener whose position is older has to begin again.
"""

from __future__ import annotations

import asyncio

from babygun.errors import Compacted, EtcdError
from babygun.etcd import Event, Watch
from babygun.runtime.tasks import cancel_all, run_together
from babygun.store.changes.feed import ChangeFeed, removal
from babygun.store.changes.position import Change, Position
from babygun.store.changes.recent_records import client_of
from babygun.store.keys import range_end
from babygun.store.store import Store

TIMEOUT = 5.0  # s, for all of it
_UNKNOWN = 50_000  # e-mails whose client is not known yet
_ASK_INTERVAL = 0.05  # s, between two questions how far a watch is


class ResetNeeded(Exception):
    """Some changes since the position are lost, so the listener must load its lists again.

    The message is one of :data:`babygun.store.changes.feed.ResetReason`.
    """


class History:
    """The changes that one listener has missed.

    ``client_id``: whose e-mails it sees; None: everybody's. ``most``: e-mails that it may get.
    """

    def __init__(self, store: Store, feed: ChangeFeed, client_id: str | None, most: int) -> None:
        self._store, self._feed, self._client_id, self._most = store, feed, client_id, most
        self._changes: dict[str, Change] = {}
        self._others: set[str] = set()  # changed e-mails of other clients

    async def changes(self, since: Position, until: Position) -> dict[str, Change]:
        """What changed after ``since``, up to ``until`` or later, by e-mail. Raises ResetNeeded.

        It hands the records that it reads to the feed, which keeps them.
        """
        if not self._feed.reports_progress:
            raise ResetNeeded("unknown-id")
        keys = self._store.keys
        ranges = (
            (keys.emails, since.records, until.records),
            (keys.owners, since.owners, until.owners),
        )
        works = [self._follow(*each) for each in ranges if each[1] < each[2]]
        try:
            async with asyncio.timeout(TIMEOUT):
                await run_together("history of changes", *works)
        except Compacted:
            raise ResetNeeded("compacted") from None
        except EtcdError:
            raise ResetNeeded("etcd-unavailable") from None
        except TimeoutError:
            raise ResetNeeded("fell-behind") from None
        changes = {
            email_id: change
            for email_id, change in self._changes.items()
            if email_id not in self._others
        }
        if len(changes) > self._most:
            raise ResetNeeded("fell-behind")
        return changes

    async def _follow(self, prefix: bytes, since: int, until: int) -> None:
        is_records = prefix == self._store.keys.emails
        async with Watch(
            self._store.client,
            prefix,
            range_end(prefix),
            revision=since + 1,
            previous=is_records,
            progress=True,
        ) as batches:
            asking = asyncio.create_task(_ask(batches), name="ask for progress")
            try:
                async for batch in batches:
                    for event in batch.events:
                        if is_records:
                            self._record_changed(event)
                        else:
                            self._owner_changed(event)
                    if len(self._changes) > (self._most if self._client_id is None else _UNKNOWN):
                        raise ResetNeeded("fell-behind")
                    if batch.revision >= until:
                        return
            finally:
                await cancel_all(asking)

    def _record_changed(self, event: Event) -> None:
        email_id = self._store.keys.email_id(event.kv.key)
        change = removal(event) if event.type == "delete" else Change(event.kv.mod_revision)
        client_id = change.client_id
        if event.type == "put":
            client_id = client_of(event.kv)
            if client_id is None:  # put there by hand
                return
        if self._client_id is not None and client_id != self._client_id:
            self._others.add(email_id)
            self._changes.pop(email_id, None)
            return
        if event.type == "put":
            self._feed.records.add(email_id, event.kv)
        known = self._changes.get(email_id)
        change.owners = known.owners if known else 0
        self._changes[email_id] = change

    def _owner_changed(self, event: Event) -> None:
        try:
            email_id = self._store.keys.parse_owner(event.kv.key).email_id
        except ValueError:  # put there by hand
            return
        if email_id not in self._others:
            self._changes.setdefault(email_id, Change()).owners = event.kv.mod_revision


async def _ask(batches: Watch) -> None:
    """Asks how far the watch is, again and again: etcd answers once the watch has caught up."""
    while True:
        await batches.ask_progress()
        await asyncio.sleep(_ASK_INTERVAL)
