"""What a listener has missed who comes from another process, or after a while: read from etcd's history, by watches of its own.

They end where the process's own watches are. etcd keeps its history for a short time only (the auto-compaction); beyond that
the listener has to begin anew.
"""

from __future__ import annotations

import asyncio

from babygun.api.live.mirror import Mirror, removed, whose
from babygun.api.live.position import Change, Position
from babygun.errors import Compacted, EtcdError
from babygun.etcd import Event, Watch, watch
from babygun.store import Store
from babygun.store.keys import range_end

PATIENCE = 5.0  # s, that it may take
_UNKNOWN = 50_000  # e-mails of which it is not known yet whose they are
_ASK = 0.05  # s, between two questions how far a watch is


class BeginAnew(Exception):
    """Not everything that was missed can be told; the message is the reason of a reset."""


class CatchUp:
    """One listener's. ``client_id``: whose e-mails it sees, None: everybody's; ``most``: e-mails."""

    def __init__(self, store: Store, mirror: Mirror, client_id: str | None, most: int) -> None:
        self._store, self._mirror, self._client_id, self._most = store, mirror, client_id, most
        self._changes: dict[str, Change] = {}
        self._others: set[str] = set()  # e-mails of other clients, which changed too

    async def missed(self, since: Position, until: Position) -> dict[str, Change]:
        """What changed after ``since``, up to ``until`` at least, by e-mail; the mirror knows the records then. Raises BeginAnew."""
        if not self._mirror.in_step:
            raise BeginAnew("unknown-id")
        keys = self._store.keys
        ranges = (
            (keys.emails, since.records, until.records),
            (keys.owners, since.owners, until.owners),
        )
        tasks = [
            asyncio.create_task(self._follow(prefix, start, end), name="catch up")
            for prefix, start, end in ranges
            if start < end
        ]
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*tasks)
        except Compacted:
            raise BeginAnew("compacted") from None
        except EtcdError:
            raise BeginAnew("etcd-unavailable") from None
        except TimeoutError:
            raise BeginAnew("fell-behind") from None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        changes = {
            email_id: change
            for email_id, change in self._changes.items()
            if email_id not in self._others
        }
        if len(changes) > self._most:
            raise BeginAnew("fell-behind")
        return changes

    async def _follow(self, prefix: bytes, since: int, until: int) -> None:
        records = prefix == self._store.keys.emails
        async with watch(
            self._store.client,
            prefix,
            range_end(prefix),
            revision=since + 1,
            previous=records,
            progress=True,
        ) as batches:
            asking = asyncio.create_task(_ask(batches), name="ask for progress")
            try:
                async for batch in batches:
                    for event in batch.events:
                        if records:
                            self._record(event)
                        else:
                            self._owner(event)
                    if len(self._changes) > (self._most if self._client_id is None else _UNKNOWN):
                        raise BeginAnew("fell-behind")
                    if batch.revision >= until:
                        return
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)

    def _record(self, event: Event) -> None:
        email_id, revision = self._store.keys.email_id(event.kv.key), event.kv.mod_revision
        change = removed(event) if event.type == "delete" else Change(revision)
        client_id = change.client_id
        if event.type == "put":
            try:
                client_id = whose(event.kv.value).client_id
            except ValueError:  # put there by hand
                return
        if self._client_id is not None and client_id != self._client_id:
            self._others.add(email_id)
            self._changes.pop(email_id, None)
            return
        if event.type == "put":
            self._mirror.learn(email_id, event.kv)
        known = self._changes.get(email_id)
        change.owners = known.owners if known else 0
        self._changes[email_id] = change

    def _owner(self, event: Event) -> None:
        try:
            email_id = self._store.keys.parse_owner(event.kv.key).email_id
        except ValueError:
            return
        if email_id not in self._others:
            self._changes.setdefault(email_id, Change()).owners = event.kv.mod_revision


async def _ask(batches: Watch) -> None:
    """etcd answers once the watch has caught up."""
    while True:
        await batches.ask_progress()
        await asyncio.sleep(_ASK)
