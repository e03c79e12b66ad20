"""States of sites that end at a time: each is a key on its own lease, and all processes follow it.

Holds are such states, and so are limits for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from babygun.email.reasons import cut, quoted_to_others
from babygun.email.tries import RecipientResult
from babygun.etcd import Compare, Txn, WatchBatch, follow, put
from babygun.etcd.txn import KeyValue
from babygun.store import codec
from babygun.store.keys import range_end
from babygun.store.records import SiteState
from babygun.store.store import Store

_REASON_BYTES = 512


def quoted(reply: RecipientResult) -> dict[str, Any]:
    """The fields of a state that say why, in a server's words."""
    return {
        "reason": reply.reply_class,
        "status_code": reply.status_code,
        "enhanced_code": reply.enhanced_code,
        "status_reason": quoted_to_others(reply.reason, _REASON_BYTES),
    }


def said_by_operator(reason: str, by: str) -> dict[str, Any]:
    """The fields of a state that say why, in an operator's words."""
    return {
        "reason": "operator",
        "status_reason": cut(reason, _REASON_BYTES) if reason else None,
        "set_by": by,
        "by_operator": True,
    }


async def put_until(store: Store, key: bytes, state: SiteState, compares: Sequence[Compare]) -> int:
    """Writes a state on a new lease; returns the revision, or 0 if another process was first.

    Raises EtcdError.
    """
    seconds = (state.until - await store.clock.now()).total_seconds()
    lease = await store.client.grant(max(1, int(seconds)))
    result = await store.client.txn(Txn(compares, [put(key, codec.encode_state(state), lease)]))
    if result.succeeded:
        return result.revision
    await store.client.revoke(lease)
    return 0


class Kept(Protocol):
    """A state as it was read. ``name``: as its key ends. ``revision``: the key's mod revision."""

    @property
    def name(self) -> str: ...
    @property
    def revision(self) -> int: ...


K = TypeVar("K", bound=Kept)


class Followed(Generic[K]):
    """The states under a prefix, followed. Run :meth:`run` as a task.

    ``by_name``: what is known now; the last known state stays while etcd is away. ``decode``: makes
    a state of a key and its value; None where that can't be read. ``name_of``: the name in a key.
    ``changed`` is called with the name of each state that has begun, changed or ended.
    """

    def __init__(
        self,
        store: Store,
        prefix: bytes,
        *,
        what: str,
        name_of: Callable[[bytes], str],
        decode: Callable[[KeyValue], K | None],
        changed: Callable[[str], None],
    ) -> None:
        self._store, self._prefix, self._what = store, prefix, what
        self._name_of, self._decode, self._changed = name_of, decode, changed
        self.by_name: dict[str, K] = {}

    async def run(self) -> NoReturn:
        """Follows them until cancelled."""

        async def take_in(batch: WatchBatch) -> None:
            for event in batch.events:
                if event.type == "delete":
                    self._forget(self._name_of(event.kv.key), event.kv.mod_revision)
                elif kept := self._decode(event.kv):
                    self.learn(kept)

        await follow(
            self._store.client,
            self._prefix,
            range_end(self._prefix),
            what=self._what,
            read=self.read,
            changed=take_in,
        )

    async def read(self) -> int:
        """Reads all of them. Returns the revision. Raises EtcdError.

        What is known from a later revision comes from data that etcd has no more. Its revisions
        begin again, so nothing else would ever say that such a state has ended.
        """
        known = dict(self.by_name)
        found = await self._store.client.range(self._prefix, range_end(self._prefix))
        for name, before in known.items():
            if before.revision > found.revision:
                self._forget(name, before.revision)
        now = {kept.name: kept for kv in found.kvs if (kept := self._decode(kv))}
        for name in self.by_name.keys() - now.keys():
            self._forget(name, found.revision)
        for kept in now.values():
            self.learn(kept)
        return found.revision

    def learn(self, kept: K) -> None:
        """Takes in a state that was read or written, unless a newer one is known."""
        known = self.by_name.get(kept.name)
        if known is None or known.revision < kept.revision:
            self.by_name[kept.name] = kept
            self._changed(kept.name)

    def _forget(self, name: str, revision: int) -> None:
        """The state of this name has ended at a revision. One that is newer stays."""
        known = self.by_name.get(name)
        if known is not None and known.revision <= revision:
            del self.by_name[name]
            self._changed(name)
