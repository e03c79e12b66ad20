"""States of sites that end at a time: each is a key on its own lease.

Holds are such states, and so are limits for a while.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from babygun.email.reasons import cut, quoted_to_others
from babygun.email.tries import RecipientResult
from babygun.etcd import Compare, Txn, put
from babygun.store import codec
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
