"""API clients in etcd: made, read, changed, deleted."""

from __future__ import annotations

from babygun.runtime.clock import utc_now
from babygun.store.access.client_secrets import verify_secret
from babygun.store.access.clients import (
    create_client,
    delete_client,
    get_client,
    list_clients,
)
from tests.support.rig import Rig


async def test_client_secret_is_verified_and_never_stored(rig: Rig) -> None:
    client, secret = await create_client(rig.store, name="app", scopes=("emails:send",))
    stored = await rig.store.client.get(rig.store.keys.client(client.id))
    assert stored and secret.encode() not in stored.value
    known = await get_client(rig.store, client.id)
    assert known == client and verify_secret(client, secret, utc_now())
    for wrong in ("", secret[:-1], secret + "0", "\ud800"):
        assert not verify_secret(client, wrong, utc_now())
    assert [c.id for c in await list_clients(rig.store)] == [client.id]
    assert await delete_client(rig.store, client.id) and not await delete_client(
        rig.store, client.id
    )
