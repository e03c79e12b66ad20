"""Writes every revision of every key to the history, by one watch straight to etcd's members.

The watch outlives members that die. Where etcd compacts what it has not seen, the loss is noted,
and the whole state is read instead.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self

from babygun.errors import Compacted, EtcdError
from babygun.etcd import EtcdClient, KeyValue, Watch
from babygun.store.keys import range_end
from scripts.chaos.history import KEYS, MOST_VALUE, Gap, Reached, Recorder, Revision

_PAUSE = 0.5  # s, before the state is read again after an error
_ASK = 0.05  # s, between two questions for the revision
_PAGE = 2000  # keys of one read


class Watcher:
    """Watches while it is open. ``endpoints``: URLs of the members themselves, no proxies."""

    def __init__(self, recorder: Recorder, endpoints: tuple[str, ...]) -> None:
        self._recorder = recorder
        self._client = EtcdClient(endpoints, timeout=10.0)
        self._tasks: list[asyncio.Task[None]] = []
        self._watch: Watch | None = None
        self._changed = asyncio.Condition()
        self._live: set[bytes] = set()
        self.revision = 0  # of the last event written

    async def __aenter__(self) -> Self:
        await self._client.start()
        self._tasks = [
            asyncio.create_task(self._follow()),
            asyncio.create_task(self._ask_for_revisions()),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self._client.close()

    @property
    def live(self) -> frozenset[bytes]:
        """All keys under the prefix, as far as the watch has come."""
        return frozenset(self._live)

    async def caught_up(self) -> None:
        """Waits until all that etcd holds now is written. Raises EtcdError while etcd is away."""
        revision = await self._current()
        while self.revision < revision:
            if self._watch is not None:
                await self._watch.ask_progress()
            with suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE), self._changed:
                    await self._changed.wait()

    async def _current(self) -> int:
        """etcd's revision, agreed on by a majority."""
        return (await self._client.range(KEYS.prefix, KEYS.prefix + b"\0", limit=1)).revision

    async def _ask_for_revisions(self) -> None:
        """The watch may be late: this says by when a revision was there."""
        while True:
            asked = self._recorder.now()
            with suppress(EtcdError):
                revision = await self._current()
                self._recorder.add(Reached(self._recorder.now(), asked, revision))
            await asyncio.sleep(_ASK)

    async def _follow(self) -> None:
        start, end = KEYS.prefix, range_end(KEYS.prefix)
        while True:
            try:
                self._watch = Watch(
                    self._client, start, end, revision=self.revision + 1, progress=True
                )
                async with self._watch as batches:
                    async for batch in batches:
                        for event in batch.events:
                            self._write(event.kv, gone=event.type == "delete")
                        await self._came_to(batch.revision)
            except Compacted:
                await self._read_all()
            except EtcdError:
                await asyncio.sleep(_PAUSE)

    async def _came_to(self, revision: int) -> None:
        async with self._changed:
            self.revision = max(self.revision, revision)
            self._changed.notify_all()

    async def _read_all(self) -> None:
        """Notes a gap, and writes the keys that changed in it as they are now."""
        start, end = KEYS.prefix, range_end(KEYS.prefix)
        kvs: list[KeyValue] = []
        revision = 0
        while True:
            found = await self._client.range(start, end, limit=_PAGE, revision=revision)
            revision = revision or found.revision
            kvs += found.kvs
            if not found.more:
                break
            start = found.kvs[-1].key + b"\0"
        after = self.revision
        self._recorder.add(Gap(self._recorder.now(), after, revision))
        for key in self._live - {kv.key for kv in kvs}:
            self._write(KeyValue(key, b"", 0, revision, 0, 0), gone=True)
        for kv in sorted(kvs, key=lambda kv: kv.mod_revision):
            if kv.mod_revision > after:
                self._write(kv, gone=False)
        await self._came_to(revision)

    def _write(self, kv: KeyValue, *, gone: bool) -> None:
        (self._live.discard if gone else self._live.add)(kv.key)
        value = kv.value[:MOST_VALUE] if kv.key.startswith(KEYS.contents) else kv.value
        self._recorder.add(
            Revision(
                self._recorder.now(),
                kv.mod_revision,
                kv.key,
                value,
                kv.lease,
                kv.create_revision,
                kv.version,
                gone,
                len(kv.value),
            )
        )
