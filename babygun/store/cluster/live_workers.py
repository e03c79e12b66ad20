"""The workers that take jobs, as they come and go, and the jobs of those that have gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, NoReturn

from babygun.errors import EtcdError
from babygun.etcd import KeyValue, WatchBatch, follow
from babygun.runtime.logs import get_logger
from babygun.store import codec
from babygun.store.emails.reading import owned_by
from babygun.store.keys import JobRef, range_end
from babygun.store.records import Worker
from babygun.store.store import Store

log = get_logger("store")


class Gone(NamedTuple):
    """A worker whose record is gone, and the jobs that it owned then; none where not known."""

    worker_id: str
    owned: list[JobRef]


async def follow_live_workers(
    store: Store, changed: Callable[[set[str], list[Gone]], None]
) -> NoReturn:
    """Follows the workers that take jobs: on a lease, and not draining.

    ``changed`` gets their ids, and the workers that are gone, at first and after each change.
    """
    prefix, end, name = store.keys.workers, range_end(store.keys.workers), store.keys.last_part
    live: set[str] = set()

    async def read() -> int:
        found = await store.client.range(prefix, end)
        live.clear()
        live.update(name(kv.key) for kv in found.kvs if _takes_jobs(kv))
        changed(live, [])
        return found.revision

    async def take_in(batch: WatchBatch) -> None:
        gone: dict[str, int] = {}
        for event in batch.events:
            if event.type == "put" and _takes_jobs(event.kv):
                live.add(name(event.kv.key))
            else:
                live.discard(name(event.kv.key))
            if event.type == "delete":
                gone[name(event.kv.key)] = event.kv.mod_revision
        changed(live, [await _gone(store, *one) for one in gone.items()])

    await follow(store.client, prefix, end, what="live workers", read=read, changed=take_in)


def _takes_jobs(kv: KeyValue) -> bool:
    """Without a lease, somebody wrote the key by hand."""
    try:
        return kv.lease != 0 and not codec.decode_state(kv.value, Worker).draining
    except ValueError:
        return False


async def _gone(store: Store, worker_id: str, revision: int) -> Gone:
    """Reads what the worker owned just before ``revision``, when its keys went all at once."""
    owned: list[JobRef] = []
    try:
        owned = [ref for ref, _ in await owned_by(store, worker_id, revision=revision - 1)]
    except EtcdError as error:  # the next read of the slice finds these jobs, too
        log.warning("owned jobs not read", worker=worker_id, error=str(error))
    log.info("worker left", worker=worker_id, held=len(owned))
    return Gone(worker_id, owned)
