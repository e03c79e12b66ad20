"""The keys that sign tokens, and revoked tokens."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from babygun.runtime.clock import utc_now
from babygun.store.access import tokens
from babygun.store.access.tokens import ensure_signing_key, revoke_token
from tests.support.rig import Rig


@pytest.mark.parametrize("ahead", [-600, 600, 7200])  # s, of the clock of the process that revokes
async def test_revoked_token_is_known_for_its_whole_life_by_every_clock(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    issued, whole = utc_now(), timedelta(hours=1)
    monkeypatch.setattr(tokens, "utc_now", lambda: utc_now() + timedelta(seconds=ahead))
    await revoke_token(rig.store, "t1", issued, issued + whole)
    key = await rig.store.client.get(rig.store.keys.revoked("t1"))
    assert key is not None
    assert await rig.store.client.granted(key.lease) >= whole.total_seconds() + 1800


async def test_signing_key_made_by_many_at_once_is_one(rig: Rig) -> None:
    await asyncio.gather(*(ensure_signing_key(rig.store) for _ in range(10)))
    assert (
        await rig.store.client.range(
            rig.store.keys.signing_keys, rig.store.keys.signing_keys + b"\xff"
        )
    ).count == 1
