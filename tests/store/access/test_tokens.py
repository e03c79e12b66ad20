"""Tokens that were revoked before their end."""

from __future__ import annotations

from datetime import timedelta

from babygun.runtime.clock import utc_now
from babygun.store.access.tokens import revoke_token
from tests.support.rig import Rig


async def test_revoked_token_is_known_for_its_whole_life_by_every_clock(rig: Rig) -> None:
    issued, whole = utc_now(), timedelta(hours=1)
    await revoke_token(rig.store, "t1", issued, issued + whole)
    key = await rig.store.client.get(rig.store.keys.revoked("t1"))
    assert key is not None
    assert await rig.store.client.granted(key.lease) >= whole.total_seconds() + 1800
