"""Held queues: queues whose mail waits, since the server refused the session or the login.

One key for each. The first worker that writes it wins; all others follow it. A worker takes the
turn to probe by a compare on the key, so one e-mail at a time tries whether mail goes again. A turn
passes on by time, so a worker that dies takes nothing with it. The lease ends a hold that nobody
probes any more.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple, NoReturn

from msgspec.structs import replace

from babygun.email.reasons import cut
from babygun.email.tries import RecipientResult
from babygun.etcd import (
    Compare,
    Txn,
    WatchBatch,
    absent,
    created_at,
    delete,
    follow,
    modified_at,
    put,
)
from babygun.etcd.txn import KeyValue
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.keys import range_end
from babygun.store.records import Hold
from babygun.store.store import Store

# s, from the begin of a hold to its first probe, and from each probe to the next one. The last
# wait repeats.
PROBE_WAITS = (30.0, 60.0, 120.0, 300.0, 600.0)
# s after a probe was due, after which a hold ends by itself. Nobody had mail to probe with, or no
# worker sends this queue.
UNPROBED = 3600.0
_REASON_BYTES = 512


class Held(NamedTuple):
    """A hold as it was read. ``created`` names it: a later hold of the queue has another one.

    ``created`` and ``revision``: the key's create and mod revision.
    """

    hold: Hold
    created: int
    revision: int


async def begin(store: Store, queue: str, reply: RecipientResult, *, worker_id: str) -> Held | None:
    """Holds a queue. None: it is held already. Raises EtcdError."""
    now = await store.clock.now()
    hold = _with_reply(
        Hold(
            queue=queue,
            reason=reply.reply_class,
            since=now,
            set_by=worker_id,
            probe_at=_next_probe(now, 0),
            until=_until(_next_probe(now, 0)),
        ),
        reply,
    )
    key = store.keys.hold(queue)
    revision = await _put(store, key, hold, absent(key))
    return Held(hold, revision, revision) if revision else None


async def take_turn(store: Store, held: Held, *, worker_id: str) -> Held | None:
    """Takes the turn to probe. None: another worker has it, or the hold has ended."""
    now, probes = await store.clock.now(), held.hold.probes + 1
    probe_at = _next_probe(now, probes)
    hold = replace(
        held.hold,
        probes=probes,
        probed_by=worker_id,
        probe_at=probe_at,
        until=_until(probe_at),
    )
    return await _write(store, held, hold)


async def quote(store: Store, held: Held, reply: RecipientResult) -> Held | None:
    """Notes what the server says now. None: there is nothing new, or the hold has changed."""
    hold = _with_reply(replace(held.hold, reason=reply.reply_class), reply)
    return None if hold == held.hold else await _write(store, held, hold)


async def end(store: Store, held: Held) -> bool:
    """Ends a hold. False: it has ended already. A later hold of the queue stays."""
    key = store.keys.hold(held.hold.queue)
    result = await store.client.txn(Txn([created_at(key, held.created)], [delete(key)]))
    return result.succeeded


async def _write(store: Store, held: Held, hold: Hold) -> Held | None:
    key = store.keys.hold(hold.queue)
    revision = await _put(store, key, hold, modified_at(key, held.revision))
    return Held(hold, held.created, revision) if revision else None


async def _put(store: Store, key: bytes, hold: Hold, compare: Compare) -> int:
    """Writes a hold on a new lease; returns the revision, or 0 if another worker was first."""
    lease = await _lease(store, hold)
    result = await store.client.txn(Txn([compare], [put(key, codec.encode_state(hold), lease)]))
    if result.succeeded:
        return result.revision
    await store.client.revoke(lease)
    return 0


async def _lease(store: Store, hold: Hold) -> int:
    seconds = int((hold.until - await store.clock.now()).total_seconds())
    return await store.client.grant(max(1, seconds))


def _next_probe(now: datetime, probes: int) -> datetime:
    """``probes``: so many were made."""
    return now + timedelta(seconds=PROBE_WAITS[min(probes, len(PROBE_WAITS) - 1)])


def _until(probe_at: datetime) -> datetime:
    return probe_at + timedelta(seconds=UNPROBED)


def _with_reply(hold: Hold, reply: RecipientResult) -> Hold:
    return replace(
        hold,
        status_code=reply.status_code,
        enhanced_code=reply.enhanced_code,
        status_reason=cut(reply.reason, _REASON_BYTES) if reply.reason else None,
    )


class Holds:
    """The held queues, followed. Run :meth:`run` as a task.

    ``by_queue``: what is known now; the last known state stays while etcd is away. ``changed`` is
    called with each queue whose hold has begun, changed or ended.
    """

    def __init__(self, store: Store, changed: Callable[[str], None] = lambda _: None) -> None:
        self._store, self._changed = store, changed
        self.by_queue: dict[str, Held] = {}

    async def run(self) -> NoReturn:
        """Follows the holds until cancelled."""
        prefix = self._store.keys.holds

        async def changed(batch: WatchBatch) -> None:
            for event in batch.events:
                if event.type == "delete":
                    self.forget(self._store.keys.last_part(event.kv.key), event.kv.mod_revision)
                elif held := _decoded(event.kv):
                    self.learn(held)

        await follow(
            self._store.client,
            prefix,
            range_end(prefix),
            what="held queues",
            read=self.read,
            changed=changed,
        )

    async def read(self) -> int:
        """Reads all of them. Returns the revision.

        What is known from a later revision comes from data that etcd has no more. Its revisions
        begin again, so nothing else would ever say that such a hold has ended.
        """
        prefix, known = self._store.keys.holds, dict(self.by_queue)
        found = await self._store.client.range(prefix, range_end(prefix))
        for queue, before in known.items():
            if before.revision > found.revision:
                self.forget(queue, before.revision)
        now = {held.hold.queue: held for kv in found.kvs if (held := _decoded(kv))}
        for queue in self.by_queue.keys() - now.keys():
            self.forget(queue, found.revision)
        for held in now.values():
            self.learn(held)
        return found.revision

    def learn(self, held: Held) -> None:
        """Takes in a hold that was read or written, unless a newer state is known."""
        queue = held.hold.queue
        known = self.by_queue.get(queue)
        if known is None or known.revision < held.revision:
            self.by_queue[queue] = held
            self._changed(queue)

    def forget(self, queue: str, revision: int) -> None:
        """The queue's hold has ended at a revision. One that is newer stays."""
        known = self.by_queue.get(queue)
        if known is not None and known.revision <= revision:
            del self.by_queue[queue]
            self._changed(queue)


async def list_holds(store: Store) -> list[Hold]:
    """The held queues, sorted by name. Raises EtcdError."""
    prefix = store.keys.holds
    found = await store.client.range(prefix, range_end(prefix))
    return [held.hold for kv in found.kvs if (held := _decoded(kv))]


def _decoded(kv: KeyValue) -> Held | None:
    """None for a key that can't be read: somebody wrote it by hand."""
    try:
        hold = codec.decode_state(kv.value, Hold)
    except ValueError as error:
        log_unreadable(kv.key, error)
        return None
    return Held(hold, kv.create_revision, kv.mod_revision)
