"""Tokens that were revoked before their end."""

from __future__ import annotations

import math
from datetime import datetime

from babygun.store.store import Store

_CLOCKS_DIFFER = 3600  # s, at most


async def revoke_token(store: Store, jti: str, issued_at: datetime, expires_at: datetime) -> None:
    """Refuses a token from now on; its key goes after the token's own end.

    No clock is asked: with one that is ahead, the key would go while others still take the token.
    """
    whole = math.ceil((expires_at - issued_at).total_seconds())
    lease = await store.client.grant(whole + _CLOCKS_DIFFER)
    await store.client.put(store.keys.revoked(jti), b"", lease)
