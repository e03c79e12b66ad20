"""The notices of a webhook, for the worker that owns it.

One worker at a time owns a webhook: its key ``notice-owners/<id>`` is on the worker's lease, and
the key's create revision is the fencing token. Each later write compares it. So no notice has an
owner of its own.

ready (``notices/``) ─try─▶ sent or failed (``notices-sent/``), or waits (``notices-due/``)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, NoReturn, TypeVar

from msgspec import Struct

from babygun.errors import EtcdError, LeaseNotFound, OutcomeUnknown, OutOfSpace
from babygun.etcd import (
    Compare,
    KeyValue,
    Op,
    Txn,
    WatchBatch,
    absent,
    created_at,
    delete,
    follow,
    get,
    modified_at,
    present,
    put,
)
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.keys import NoticeRef, range_end
from babygun.store.store import Store
from babygun.store.webhooks.records import Notice, Owner, WebhookHealth, WebhookSecret

log = get_logger("store")

# Of one transaction. etcd takes 1.5 MiB a request.
MOST_RESULTS, MOST_BYTES = 100, 512 * 1024
_NESTED = 10  # etcd takes 128 operations: these transactions leave most of them to others
_LEAST_PAUSE, _MOST_PAUSE = 0.05, 2.0  # s, between two tries of a write that has to be made


_UNREADABLE = WebhookSecret("!")  # it can't sign, so each try fails and says so
T = TypeVar("T")


class StoredNotice(NamedTuple):
    """A notice under its key of ``notices/`` or ``notices-due/``. ``value``: as etcd has it."""

    key: bytes
    revision: int
    event_id: str
    value: bytes


class Outcome(Struct, frozen=True, gc=False):
    """What became of a notice by a try. ``due``: of its next one; None: it is sent or has failed.

    ``notice``: as it is from now on.
    """

    stored: StoredNotice
    notice: Notice
    due: datetime | None = None


class Taken(NamedTuple):
    """An ownership: ``token`` fences its writes. With what its owner needs to know."""

    token: int
    secret: WebhookSecret
    health: WebhookHealth


async def take(store: Store, webhook_id: str, *, worker_id: str, lease_id: int) -> Taken | None:
    """Becomes the owner of a webhook.

    None: another worker has it, or the webhook is gone. Raises EtcdError, LeaseNotFound if the
    worker's own lease is gone.
    """
    keys = store.keys
    key, secret = keys.notice_owner(webhook_id), keys.webhook_secret(webhook_id)
    value = codec.encode_state(Owner(worker_id, utc_now()))
    reads = [get(key), get(secret), get(keys.webhook_health(webhook_id))]
    txn = Txn([absent(key), present(secret)], [put(key, value, lease_id), *reads], reads)
    try:
        result = await store.batcher.submit(txn)
    except OutcomeUnknown:
        result = await store.batcher.submit(txn)
    owners, secrets, healths = (result.kvs(at + result.succeeded) for at in range(3))
    # Refused, it may still be ours: by a write whose answer was lost.
    if not owners or not secrets or owners[0].lease != lease_id:
        return None
    return Taken(
        owners[0].create_revision,
        codec.state_of(secrets[0], WebhookSecret) or _UNREADABLE,
        (codec.state_of(healths[0], WebhookHealth) if healths else None) or WebhookHealth(),
    )


async def give_back(store: Store, webhook_id: str, token: int) -> None:
    """Ends the ownership: another worker need not wait for the lease's end. Raises EtcdError."""
    key = store.keys.notice_owner(webhook_id)
    await store.batcher.submit(Txn([created_at(key, token)], [delete(key)]))


async def owned_webhooks(store: Store, lease_id: int) -> set[str]:
    """The ids of the webhooks that workers with other leases own. Raises EtcdError."""
    start = store.keys.notice_owners
    found = await store.client.range(start, range_end(start), keys_only=True)
    return {store.keys.last_part(kv.key) for kv in found.kvs if kv.lease != lease_id}


class Ready(NamedTuple):
    """Ready notices in their order. ``more``: there are more behind them."""

    notices: list[StoredNotice]
    more: bool
    revision: int


async def read_ready(store: Store, webhook_id: str, limit: int, after: bytes = b"") -> Ready:
    """The first ready notices of a webhook. ``after``: a key of theirs; then those behind it.

    Raises EtcdError.
    """
    start = store.keys.webhook_notices(webhook_id)
    end = range_end(start)
    found = await store.client.range(after + b"\0" if after else start, end, limit=limit)
    notices = [notice for _, notice in _ready(store, found.kvs)]
    return Ready(notices, found.more, found.revision)


async def read_due(
    store: Store, webhook_id: str, now: datetime, limit: int
) -> tuple[list[StoredNotice], datetime | None]:
    """The notices of a webhook whose time has come, and when the next one is due.

    With more than ``limit`` that is one of those that are due already. Raises EtcdError.
    """
    start = store.keys.webhook_due_notices(webhook_id)
    found = await store.client.range(start, range_end(start), limit=limit + 1)
    due: list[StoredNotice] = []
    for kv in found.kvs:
        try:
            at, ref = store.keys.parse_due_notice(kv.key)
        except ValueError as error:  # somebody wrote this key by hand
            log_unreadable(kv.key, error)
            continue
        if at > now or len(due) == limit:
            return due, at
        due.append(StoredNotice(kv.key, kv.mod_revision, ref.event_id, kv.value))
    return due, None


async def follow_ready(
    store: Store,
    first: int,
    end: int,
    *,
    read: Callable[[], Awaitable[int]],
    arrived: Callable[[str, StoredNotice], None],
) -> NoReturn:
    """Follows the ready notices of the webhooks in shards [first, end).

    ``arrived`` gets the webhook and each notice that becomes ready. ``read`` reads what is there,
    and returns the revision that it began at.
    """

    async def changed(batch: WatchBatch) -> None:
        for ref, notice in _ready(store, [event.kv for event in batch.events]):
            arrived(ref.webhook_id, notice)

    start, stop = store.keys.notice_slice(first, end)
    await follow(
        store.client, start, stop, what="notices", read=read, changed=changed, deletes=False
    )


def _ready(store: Store, kvs: Iterable[KeyValue]) -> list[tuple[NoticeRef, StoredNotice]]:
    found = []
    for kv in kvs:
        try:
            ref = store.keys.parse_notice(kv.key)
        except ValueError as error:  # somebody wrote this key by hand
            log_unreadable(kv.key, error)
            continue
        found.append((ref, StoredNotice(kv.key, kv.mod_revision, ref.event_id, kv.value)))
    return found


async def finish(
    store: Store,
    webhook_id: str,
    token: int,
    outcomes: Sequence[Outcome],
    health: WebhookHealth | None = None,
    only_if: Sequence[Compare] = (),
) -> bool:
    """Writes what became of up to MOST_RESULTS notices, in one transaction; waits for etcd.

    ``health``: of the webhook, if that is to be written too. False: this worker is no longer the
    owner, or a compare of ``only_if`` does not hold, and nothing was written. What became of a
    notice that a replay has moved meanwhile counts no more: it is sent again. One that was given up
    meanwhile does not wait for another try.
    """
    owner = created_at(store.keys.notice_owner(webhook_id), token)
    unsure = False  # whether an earlier try may have been applied
    pause = _LEAST_PAUSE
    while True:
        lease = 0
        try:
            lease = await store.notice_leases.lease(
                sum(outcome.due is None for outcome in outcomes)
            )
            ops = _writes(store, webhook_id, outcomes, lease)
            if health is not None:
                ops.append(put(store.keys.webhook_health(webhook_id), codec.encode_state(health)))
            # A replay moves what is due. What is ready may have been given up: then it is failed,
            # and must not wait too. Only a final result may take the failure's place.
            moving = [
                one
                for one in outcomes
                if one.due is not None or one.stored.key.startswith(store.keys.due_notices)
            ]
            compared = moving or (outcomes[:1] if unsure else ())
            compares = [owner, *only_if, *_unwritten(compared)]
            result = await store.batcher.submit(Txn(compares, ops, nested=_NESTED))
            if result.succeeded:
                return True
            if not compared:
                return False
            left = await _left(store, webhook_id, token, outcomes)
            if left is None or only_if:
                return left == []
            if not left and health is None:
                return True
            outcomes = left
        except LeaseNotFound:  # revoked to make room; the next one is new
            store.notice_leases.forget(lease)
        except EtcdError as error:
            unsure = unsure or isinstance(error, OutcomeUnknown | OutOfSpace)
            log.warning("notices not written", webhook_id=webhook_id, error=str(error))
            await asyncio.sleep(pause)
            pause = min(_MOST_PAUSE, 2 * pause)


def _writes(store: Store, webhook_id: str, outcomes: Collection[Outcome], lease: int) -> list[Op]:
    ops: list[Op] = []
    for outcome in outcomes:
        stored, due = outcome.stored, outcome.due
        ref = NoticeRef(webhook_id, stored.event_id)
        value = codec.encode_notice(outcome.notice)
        if due is None:
            ops.append(put(store.keys.sent_notice(ref), value, lease))
        else:
            key = store.keys.due_notice(ref, due)
            ops.append(put(key, value))
            if key == stored.key:
                continue
        ops.append(delete(stored.key))
    return ops


def _unwritten(outcomes: Iterable[Outcome]) -> list[Compare]:
    """That their notices are as they were. Those of a transaction are written together."""
    return [modified_at(outcome.stored.key, outcome.stored.revision) for outcome in outcomes]


async def _left(
    store: Store, webhook_id: str, token: int, outcomes: Sequence[Outcome]
) -> list[Outcome] | None:
    """The outcomes whose notices are as they were: no earlier write was applied.

    The others were moved by a replay, or given up. None: this worker is no longer the owner.
    """
    owner = get(store.keys.notice_owner(webhook_id))
    found = await store.client.read([owner, *(get(each.stored.key) for each in outcomes)])
    owners = found.kvs(0)
    if not owners or owners[0].create_revision != token:
        return None
    return [
        each
        for index, each in enumerate(outcomes, 1)
        if (kvs := found.kvs(index)) and kvs[0].mod_revision == each.stored.revision
    ]
