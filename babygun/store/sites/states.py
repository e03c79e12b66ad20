"""States of sites that end at a time: each is a key on its own lease.

Holds are such states, and so are limits for a while.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from babygun.email.reasons import cut, quoted_to_others
from babygun.email.tries import RecipientResult
from babygun.errors import EtcdError
from babygun.etcd import Compare, Txn, put, unchanged
from babygun.store import codec
from babygun.store.records import SiteState
from babygun.store.settled import Write, settled
from babygun.store.store import Store

_REASON_BYTES = 512
S = TypeVar("S", bound=SiteState)


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
    try:
        await store.client.revoke(lease)
    except EtcdError:
        pass  # it ends by itself, with nothing on it
    return 0


async def replace_until(store: Store, key: bytes, state: S) -> S:
    """Writes a state on a new lease, whatever was there; returns it. Raises EtcdError."""
    value = codec.encode_state(state)

    async def decide(_: bool) -> S | Write[S]:
        found = await store.client.get(key)
        if found and found.value == value:
            return state
        same = unchanged(key, found)
        return Write(state, lambda: send(same))

    async def send(same: Compare) -> bool:
        return bool(await put_until(store, key, state, [same]))

    return await settled(decide)
