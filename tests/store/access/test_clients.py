"""API clients: their secrets, and the keys that sign their tokens."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from babygun.runtime.clock import utc_now
from babygun.store.access import clients
from babygun.store.access.clients import (
    create_client,
    delete_client,
    ensure_signing_key,
    get_client,
    list_clients,
    revoke_token,
    verify_secret,
)
from tests.support.rig import Rig


async def test_client_secret_is_verified_and_never_stored(rig: Rig) -> None:
    client, secret = await create_client(rig.store, name="app", scopes=("emails:send",))
    stored = await rig.store.client.get(rig.store.keys.client(client.id))
    assert stored and secret.encode() not in stored.value
    known = await get_client(rig.store, client.id)
    assert known == client and verify_secret(client, secret)
    for wrong in ("", secret[:-1], secret + "0", "\ud800"):
        assert not verify_secret(client, wrong)
    assert [c.id for c in await list_clients(rig.store)] == [client.id]
    assert await delete_client(rig.store, client.id) and not await delete_client(
        rig.store, client.id
    )


@pytest.mark.parametrize("ahead", [-600, 600, 7200])  # s, of the clock of the process that revokes
async def test_revoked_token_is_known_for_its_whole_life_by_every_clock(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    issued, whole = utc_now(), timedelta(hours=1)
    monkeypatch.setattr(clients, "utc_now", lambda: utc_now() + timedelta(seconds=ahead))
    await revoke_token(rig.store, "t1", issued, issued + whole)
    key = await rig.store.client.get(rig.store.keys.revoked("t1"))
    assert key is not None
    assert await rig.store.client.granted(key.lease) >= whole.total_seconds() + 1800


def test_secret_of_no_client_is_always_wrong() -> None:
    for secret in ("", "0" * 64, "\ud800"):
        assert not verify_secret(None, secret)


async def test_signing_key_made_by_many_at_once_is_one(rig: Rig) -> None:
    await asyncio.gather(*(ensure_signing_key(rig.store) for _ in range(10)))
    assert (
        await rig.store.client.range(
            rig.store.keys.signing_keys, rig.store.keys.signing_keys + b"\xff"
        )
    ).count == 1
