"""All changes of e-mails, followed by two watches: of records, and of owners (who sends what).

A record is decoded only when its change is asked for. So an e-mail that changes three times in a
moment is decoded once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Literal, NamedTuple

from babygun.email.model import Email
from babygun.errors import Compacted, EtcdError, EtcdUnavailable
from babygun.etcd import Event, Watch, keep_following
from babygun.etcd.versions import PROGRESS, has
from babygun.runtime.logs import get_logger
from babygun.runtime.tasks import run_together
from babygun.store import codec
from babygun.store.changes.position import BEGINNING, Change, Position
from babygun.store.changes.recent_records import RecentRecords, client_of
from babygun.store.keys import range_end
from babygun.store.records import Owner
from babygun.store.store import Store

log = get_logger("store")

# Seconds between two questions how far a watch is. A position must be fresher than what a
# compaction leaves of the history: 20 s with the usual settings.
PROGRESS_INTERVAL = 3.0
_OWNERS_AT_ONCE = 1000


# Why a listener has to load its lists again, in the words of the API.
ResetReason = Literal["compacted", "unknown-id", "etcd-unavailable", "fell-behind", "internal"]


class RevisionWentBack(EtcdError):
    """etcd is at an older revision than it was: it is another etcd, or restored from a backup."""


class EmailState(NamedTuple):
    """An e-mail that changed, as it is now."""

    change: Change  # of the record: at the revision of ``email``, where that is newer
    email_id: str
    client_id: str | None
    email: Email | None  # None: removed
    sending: Mapping[str, Owner]  # by queue


class ChangeFeed:
    """Run :meth:`run` as a task. ``changed`` is set when there is something to :meth:`take`.

    ``began`` is called at each begin, with the position, and with a reason if changes were lost
    before it. ``stopped`` is called when the feed stops following: etcd is away, or changes are
    lost. Then it begins again. ``records``: those that changed last.
    """

    def __init__(
        self,
        store: Store,
        began: Callable[[Position, ResetReason | None], None],
        stopped: Callable[[], None],
    ) -> None:
        self._store, self._keys = store, store.keys
        self._began, self._stopped = began, stopped
        self._reason: ResetReason | None = None
        self._clear()
        self.changed = asyncio.Event()
        self.reports_progress = False  # whether etcd can be asked how far a watch is

    def _clear(self) -> None:
        self.records = RecentRecords(self._store)
        self._owners: dict[str, dict[str, Owner]] = {}  # by e-mail and queue
        self._changes: dict[str, Change] = {}
        self._position = BEGINNING

    async def run(self) -> None:
        """Follows the changes until cancelled."""
        await keep_following("changes of e-mails", self._follow, self._lost)

    def _lost(self, error: EtcdError) -> None:
        match error:
            case Compacted():
                self._reason = "compacted"
            case RevisionWentBack():
                self._reason = "unknown-id"
            case _:
                self._reason = self._reason or "etcd-unavailable"
        self._clear()
        self._stopped()

    async def _read_owners(self) -> Position:
        self.reports_progress = has((await self._store.client.status()).version, PROGRESS)
        start, end, revision = self._keys.owners, range_end(self._keys.owners), 0
        while True:
            found = await self._store.client.range(
                start, end, limit=_OWNERS_AT_ONCE, revision=revision
            )
            revision = revision or found.revision
            for kv in found.kvs:
                self._claimed(kv.key, kv.value)
            if not found.more:
                break
            start = found.kvs[-1].key + b"\0"
        return Position(revision, revision)

    async def _follow(self) -> None:
        """Reads the owners, then watches records and owners until an EtcdError."""
        self._position = await self._read_owners()
        self._began(self._position, self._reason)
        records, owners = (
            Watch(
                self._store.client,
                prefix,
                range_end(prefix),
                revision=self._position.records + 1,
                previous=prefix == self._keys.emails,
                progress=True,
            )
            for prefix in (self._keys.emails, self._keys.owners)
        )
        async with records, owners:
            await run_together(
                "change feed",
                self._follow_records(records),
                self._follow_owners(owners),
                self._check_progress(records, owners),
            )

    @property
    def newest(self) -> int:
        """The newest revision that either watch has brought."""
        return max(self._position)

    def take(self, until: int) -> tuple[dict[str, Change], Position]:
        """Takes what has changed since the last call, by e-mail, with the position it leads to.

        A change after revision ``until`` is postponed to the next call, but only once. The reason:
        a claim or a finish changes record and owner, and must come as one change. The two watches
        may bring its halves at two moments.
        """
        self.changed.clear()
        changes, self._changes = self._changes, {}
        postponed = [
            email_id
            for email_id, change in changes.items()
            if change.latest > until and not change.postponed
        ]
        for email_id in postponed:
            self._changes[email_id] = change = changes.pop(email_id)
            change.postponed = True
            self.changed.set()
        return changes, Position(
            min(self._position.records, until), min(self._position.owners, until)
        )

    async def states(self, changes: Mapping[str, Change]) -> list[EmailState]:
        """The changed e-mails as they are now, in the order of their changes.

        A record that can't be read, or is gone by now, is left out. May raise EtcdError.
        """
        await self.records.read([e for e, change in changes.items() if not change.gone])
        found = [self._state(email_id, change) for email_id, change in changes.items()]
        return sorted(
            (state for state in found if state is not None), key=lambda state: state.change.latest
        )

    # --- the watches ---

    async def _check_progress(self, *watches: Watch) -> None:
        """Keeps the position fresh, and notices an etcd whose revision went back.

        On such an etcd a watch waits for a revision that comes late or never.
        """
        while True:
            before = self._position
            await asyncio.sleep(PROGRESS_INTERVAL)
            if self.reports_progress:
                for each in watches:
                    await each.ask_progress()
            if self._position == before:
                newest = self.newest
                with suppress(EtcdUnavailable):
                    if await current_revision(self._store) < newest:
                        raise RevisionWentBack

    async def _follow_records(self, records: Watch) -> None:
        async for batch in records:
            for event in batch.events:
                self._record_changed(event)
            self._reached(Position(batch.revision, self._position.owners))

    async def _follow_owners(self, owners: Watch) -> None:
        async for batch in owners:
            for event in batch.events:
                email_id = (
                    self._claimed(event.kv.key, event.kv.value)
                    if event.type == "put"
                    else self._released(event.kv.key)
                )
                if email_id:
                    self._add(email_id, Change(owners=event.kv.mod_revision))
            self._reached(Position(self._position.records, batch.revision))

    def _reached(self, position: Position) -> None:
        if not position.covers(self._position):
            raise RevisionWentBack
        self._position = position
        self.changed.set()

    def _record_changed(self, event: Event) -> None:
        email_id, revision = self._keys.email_id(event.kv.key), event.kv.mod_revision
        if event.type == "put":
            self.records.add(email_id, event.kv)
            self._add(email_id, Change(revision))
        else:
            self._add(email_id, removal(event))
            self.records.forget(email_id)

    def _add(self, email_id: str, newer: Change) -> None:
        change = self._changes.setdefault(email_id, Change())
        if newer.records >= change.records:
            change.records = newer.records
            if newer.records:
                change.gone, change.client_id = newer.gone, newer.client_id
        change.owners = max(change.owners, newer.owners)

    def _claimed(self, key: bytes, value: bytes) -> str:
        """Keeps an owner. Returns the e-mail's id; "" for a key that was put there by hand."""
        try:
            email_id, queue = self._keys.parse_owner(key)
            self._owners.setdefault(email_id, {})[queue] = codec.decode_owner(value)
        except ValueError:
            return ""
        return email_id

    def _released(self, key: bytes) -> str:
        """Forgets an owner. Returns the e-mail's id; "" for a key that was put there by hand."""
        try:
            email_id, queue = self._keys.parse_owner(key)
        except ValueError:
            return ""
        if owners := self._owners.get(email_id):
            owners.pop(queue, None)
            if not owners:
                del self._owners[email_id]
        return email_id

    # --- states ---

    def _state(self, email_id: str, change: Change) -> EmailState | None:
        if change.gone:
            return EmailState(change, email_id, change.client_id, None, {})
        record = self.records.get(email_id)
        if record is None:  # removed since: another change says so
            return None
        value, revision = record
        try:
            email = codec.decode_email(value)
        except ValueError as error:  # put there by hand
            log.error("record unreadable", email_id=email_id, error=str(error))
            return None
        # The watches may be a moment apart: a queue that is final in the record is not being sent.
        sending = {
            queue: owner
            for queue, owner in self._owners.get(email_id, {}).items()
            if not (state := email.queues.get(queue)) or not state.final
        }
        # A record that was just read may be newer than its change. A listener that comes back from
        # before that revision must get it again.
        records = revision if revision > self._position.records else change.records
        return EmailState(Change(records, change.owners), email_id, email.client_id, email, sending)


async def current_revision(store: Store) -> int:
    """etcd's newest revision. May raise EtcdError."""
    key = store.keys.cluster
    return (await store.client.range(key, key + b"\0", limit=1, keys_only=True)).revision


def removal(event: Event) -> Change:
    """The change that the delete of a record is."""
    client_id = client_of(event.previous) if event.previous else None
    return Change(event.kv.mod_revision, gone=True, client_id=client_id)
