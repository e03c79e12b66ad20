"""What of etcd the live stream shows, followed by two watches: records as they change, and who is sending what.

Records are kept as etcd has them, the recent ones only, and made into events when it is their turn: an e-mail that changes three
times within a moment is decoded once. What has been forgotten is read again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from babygun.api.emails.documents import email_summary
from babygun.api.live.position import BEGINNING, Change, Frame, Position
from babygun.errors import EtcdError, EtcdUnavailable
from babygun.etcd import Event, KeyValue, Op, Watch, get, watch
from babygun.etcd.versions import progress_is_in_step
from babygun.runtime.logs import get_logger
from babygun.store import Store, codec
from babygun.store.keys import range_end
from babygun.store.records import Owner

log = get_logger("api")

REMEMBERED = 16 << 20  # bytes of records
ASK_PROGRESS = (
    3.0  # s; positions must be fresher than what a compaction leaves, 20 s with the usual settings
)
_READ = 100  # records at once
_encode = msgspec.json.Encoder().encode


class TurnedBack(EtcdError):
    """etcd is at an older revision than it was: another one, or restored from a backup."""


class Whose(msgspec.Struct, frozen=True):
    """The one field of a record that says who may see it."""

    client_id: str


whose = msgspec.json.Decoder(Whose).decode


class Mirror:
    """:meth:`start`, then :meth:`follow` as a task. ``stirred`` is set when there is something to :meth:`take`."""

    def __init__(self, store: Store) -> None:
        self._store, self._keys = store, store.keys
        self._records: OrderedDict[str, tuple[bytes, int]] = OrderedDict()  # with their revisions
        self._size = 0
        self._owners: dict[str, dict[str, Owner]] = {}  # by e-mail and queue
        self._changes: dict[str, Change] = {}
        self._position = BEGINNING
        self.stirred = asyncio.Event()
        self.in_step = False  # whether etcd can be asked how far a watch is

    async def start(self) -> Position:
        """Reads who is sending what. Returns the position that it begins at."""
        self.in_step = progress_is_in_step((await self._store.client.status()).version)
        start, end, revision = self._keys.owners, range_end(self._keys.owners), 0
        while True:
            found = await self._store.client.range(start, end, limit=1000, revision=revision)
            revision = revision or found.revision
            for kv in found.kvs:
                self._own(kv.key, kv.value)
            if not found.more:
                break
            start = found.kvs[-1].key + b"\0"
        self._position = Position(revision, revision)
        return self._position

    async def follow(self) -> None:
        """Until cancelled. Raises Compacted or TurnedBack where only another start helps, EtcdError where etcd refuses."""
        records, owners = (
            watch(
                self._store.client,
                prefix,
                range_end(prefix),
                revision=self._position.records + 1,
                previous=prefix == self._keys.emails,
                progress=True,
            )
            for prefix in (self._keys.emails, self._keys.owners)
        )
        works = [
            self._follow_records(records),
            self._follow_owners(owners),
            self._look_after(records, owners),
        ]
        async with records, owners:
            tasks = [asyncio.create_task(work, name="live watch") for work in works]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def newest(self) -> int:
        """The newest revision that either watch has brought."""
        return max(self._position)

    def take(self, until: int) -> tuple[dict[str, Change], Position]:
        """What has changed since the last time, by e-mail, and the position that this leads to.

        What changed after ``until`` waits for the next time, and no longer: the two watches may be a moment apart, and a transaction that
        claims or finishes is told as one only when both have brought it.
        """
        self.stirred.clear()
        changes, self._changes = self._changes, {}
        for email_id in [
            email_id
            for email_id, change in changes.items()
            if change.latest > until and not change.held
        ]:
            self._changes[email_id] = change = changes.pop(email_id)
            change.held = True
            self.stirred.set()
        return changes, Position(
            min(self._position.records, until), min(self._position.owners, until)
        )

    async def frames(self, changes: Mapping[str, Change]) -> list[Frame]:
        """The events that tell of these changes, in their order, with the state of now. May raise EtcdError."""
        await self._read(
            [
                email_id
                for email_id, change in changes.items()
                if not change.gone and email_id not in self._records
            ]
        )
        made = [
            self._gone(email_id, change) if change.gone else self._state(email_id, change)
            for email_id, change in changes.items()
        ]
        return sorted(
            (frame for frame in made if frame is not None), key=lambda frame: frame.latest
        )

    def learn(self, email_id: str, kv: KeyValue) -> None:
        """A record, unless a newer one is known."""
        known = self._records.get(email_id)
        if known is not None:
            if known[1] >= kv.mod_revision:
                return
            self._size -= len(known[0])
        self._records[email_id] = kv.value, kv.mod_revision
        self._records.move_to_end(email_id)
        self._size += len(kv.value)
        while self._size > REMEMBERED and len(self._records) > 1:
            _, (value, _) = self._records.popitem(last=False)
            self._size -= len(value)

    async def _look_after(self, *watches: Watch) -> None:
        """Keeps the position fresh, and notices where etcd has turned back: there a watch waits for a revision that comes late or never."""
        while True:
            before = self._position
            await asyncio.sleep(ASK_PROGRESS)
            if self.in_step:
                for each in watches:
                    await each.ask_progress()
            if self._position == before:
                newest = self.newest
                with suppress(EtcdUnavailable):
                    if await current_revision(self._store) < newest:
                        raise TurnedBack

    # --- what the watches bring ---

    async def _follow_records(self, records: Watch) -> None:
        async for batch in records:
            for event in batch.events:
                self._changed(event)
            self._reached(Position(batch.revision, self._position.owners))

    async def _follow_owners(self, owners: Watch) -> None:
        async for batch in owners:
            for event in batch.events:
                email_id = (
                    self._own(event.kv.key, event.kv.value)
                    if event.type == "put"
                    else self._disown(event.kv.key)
                )
                if email_id:
                    self._merge(email_id, Change(owners=event.kv.mod_revision))
            self._reached(Position(self._position.records, batch.revision))

    def _reached(self, position: Position) -> None:
        if not position.covers(self._position):
            raise TurnedBack
        self._position = position
        self.stirred.set()

    def _changed(self, event: Event) -> None:
        email_id, revision = self._keys.email_id(event.kv.key), event.kv.mod_revision
        if event.type == "put":
            self.learn(email_id, event.kv)
            self._merge(email_id, Change(revision))
        else:
            self._merge(email_id, removed(event))
            if email_id in self._records:
                self._size -= len(self._records.pop(email_id)[0])

    def _merge(self, email_id: str, newer: Change) -> None:
        change = self._changes.setdefault(email_id, Change())
        if newer.records >= change.records:
            change.records = newer.records
            if newer.records:
                change.gone, change.client_id = newer.gone, newer.client_id
        change.owners = max(change.owners, newer.owners)

    def _own(self, key: bytes, value: bytes) -> str:
        try:
            email_id, queue = self._keys.parse_owner(key)
            self._owners.setdefault(email_id, {})[queue] = codec.decode_owner(value)
        except ValueError:  # put there by hand
            return ""
        return email_id

    def _disown(self, key: bytes) -> str:
        try:
            email_id, queue = self._keys.parse_owner(key)
        except ValueError:
            return ""
        if owners := self._owners.get(email_id):
            owners.pop(queue, None)
            if not owners:
                del self._owners[email_id]
        return email_id

    # --- events ---

    async def _read(self, email_ids: list[str]) -> None:
        for at in range(0, len(email_ids), _READ):
            part = email_ids[at : at + _READ]
            ops: list[Op] = [get(self._keys.email(email_id)) for email_id in part]
            result = await self._store.client.read(ops)
            for index, email_id in enumerate(part):
                if kvs := result.kvs(index):
                    self.learn(email_id, kvs[0])

    def _state(self, email_id: str, change: Change) -> Frame | None:
        if email_id not in self._records:  # removed since, which another change tells
            return None
        value, revision = self._records[email_id]
        try:
            email = codec.decode_email(value)
        except ValueError as error:  # put there by hand
            log.error("record unreadable", email_id=email_id, error=str(error))
            return None
        # The watches may be a moment apart: what the record says is over is not being sent any more.
        owners = {
            queue: owner
            for queue, owner in self._owners.get(email_id, {}).items()
            if not (state := email.queues.get(queue)) or not state.over
        }
        body = b"event: email\ndata: %b\n" % _encode(email_summary(email, owners))
        # A record that was read anew may be newer than the change; whoever comes back from before it has to be told again.
        return Frame(
            email_id,
            email.client_id,
            revision if revision > self._position.records else change.records,
            change.owners,
            body,
        )

    def _gone(self, email_id: str, change: Change) -> Frame:
        return Frame(
            email_id,
            change.client_id,
            change.records,
            change.owners,
            b'event: gone\ndata: {"id":"%b"}\n' % email_id.encode(),
        )


async def current_revision(store: Store) -> int:
    """etcd's own. May raise EtcdError."""
    key = store.keys.cluster
    return (await store.client.range(key, key + b"\0", limit=1, keys_only=True)).revision


def removed(event: Event) -> Change:
    """The change that the delete of a record is."""
    try:
        client_id = whose(event.previous.value).client_id if event.previous else None
    except ValueError:
        client_id = None
    return Change(event.kv.mod_revision, gone=True, client_id=client_id)
