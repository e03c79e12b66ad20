"""What an API process knows of clients, signing keys and revoked tokens."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from babygun.runtime.clock import utc_now
from babygun.store.access.clients import create_client, delete_client
from babygun.store.access.known_clients import KnownClients
from babygun.store.access.signing_keys import make_signing_key
from babygun.store.access.tokens import revoke_token
from babygun.store.records import Client
from tests.support.processes import PATIENCE
from tests.support.rig import Rig


async def test_known_clients_follow_clients_keys_and_revocations(rig: Rig) -> None:
    known_clients, changed_ = KnownClients(rig.store), asyncio.Event()
    known_clients.on_change.append(changed_.set)
    task = asyncio.create_task(known_clients.run())
    try:
        await asyncio.wait_for(known_clients.ready.wait(), PATIENCE)
        client, _ = await create_client(rig.store, name="app", scopes=("admin",))
        await make_signing_key(rig.store, "a1")
        await revoke_token(rig.store, "t1", utc_now(), utc_now() + timedelta(hours=1))
        async with asyncio.timeout(PATIENCE):
            while not (
                client.id in known_clients.clients
                and known_clients.signing_key
                and "t1" in known_clients.revoked
            ):
                changed_.clear()
                await changed_.wait()
            await rig.store.client.put(rig.store.keys.client("broken"), b"{")
            await delete_client(rig.store, client.id)
            while client.id in known_clients.clients:
                changed_.clear()
                await changed_.wait()
        assert known_clients.synced and "broken" not in known_clients.clients
        assert isinstance(client, Client)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
