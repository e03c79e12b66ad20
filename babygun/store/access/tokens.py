"""The keys that sign tokens, and revoked tokens."""

from __future__ import annotations

import math
import os
from datetime import datetime

from babygun.etcd import Txn, put, range_absent
from babygun.runtime.clock import utc_now
from babygun.runtime.identifiers import new_token
from babygun.store import codec
from babygun.store.keys import range_end
from babygun.store.records import SigningKey
from babygun.store.store import Store

CLOCKS_DIFFER = 3600  # s, at most


async def ensure_signing_key(store: Store) -> None:
    """Makes the first signing key, unless there is one.

    Any number of API processes may do this at the same time.
    """
    key = SigningKey(new_token(4), os.urandom(32), utc_now())
    first = range_absent(store.keys.signing_keys, range_end(store.keys.signing_keys))
    await store.client.txn(
        Txn([first], [put(store.keys.signing_key(key.kid), codec.encode_state(key))])
    )


async def revoke_token(store: Store, jti: str, issued_at: datetime, expires_at: datetime) -> None:
    """Refuses a token from now on; its key goes after the token's own end.

    No clock is asked: with one that is ahead, the key would go while others still take the token.
    """
    whole = math.ceil((expires_at - issued_at).total_seconds())
    lease = await store.client.grant(whole + CLOCKS_DIFFER)
    await store.client.put(store.keys.revoked(jti), b"", lease)
