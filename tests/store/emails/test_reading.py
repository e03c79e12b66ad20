"""Listing and reading: newest first, filters, cursors, and how many keys a page reads."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from babygun.email.model import LogEntry
from babygun.runtime.clock import utc_now
from babygun.store.access.clients import (
    create_client,
    delete_client,
    ensure_signing_key,
    get_client,
    list_clients,
    revoke_token,
    verify_secret,
)
from babygun.store.access.directory import Directory
from babygun.store.cluster.health import check
from babygun.store.emails.reading import get_email, get_log
from babygun.store.emails.transitions import cancel, claim
from babygun.store.keys import JobRef
from babygun.store.records import Client
from tests.support.rig import Rig, changed, rig_for


@pytest.mark.parametrize("email_id", ["", "x", "../emails", "01a21000-1b9b-7058-a863-be5a676c7d85"])
async def test_reading_an_email_that_is_not_there_gives_none(rig: Rig, email_id: str) -> None:
    assert (
        await get_email(rig.store, email_id) is None and await get_log(rig.store, email_id) is None
    )


async def test_reading_tells_who_is_sending(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    await claim(
        rig.store,
        JobRef(email_id, "main"),
        worker_id="w9",
        lease_id=await rig.store.client.grant(60),
        attempt="a",
    )
    view = await get_email(rig.store, email_id)
    assert (
        view
        and view.owners["main"].worker_id == "w9"
        and view.content
        and view.content.body == "Hello\n"
    )


async def test_log_begins_with_the_acceptance_wherever_that_is_told(rig: Rig) -> None:
    later = utc_now() + timedelta(hours=1)
    for send in (rig.send, rig.send_as_before):
        email_id = await send("ann@example.org", send_at=later)
        await cancel(rig.store, email_id, client_id="shop")
        email, (first, second) = await rig.get(email_id), await rig.log(email_id)
        assert first == LogEntry(
            0,
            email.created_at,
            "accepted",
            client_id="client",
            reason=f"to be sent at {later.isoformat()}",
        )
        assert (second.seq, second.event) == (1, "cancelled")


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


async def test_signing_key_made_by_many_at_once_is_one(rig: Rig) -> None:
    await asyncio.gather(*(ensure_signing_key(rig.store) for _ in range(10)))
    assert (
        await rig.store.client.range(
            rig.store.keys.signing_keys, rig.store.keys.signing_keys + b"\xff"
        )
    ).count == 1


async def test_directory_follows_clients_keys_and_revocations(rig: Rig) -> None:
    directory, changed_ = Directory(rig.store), asyncio.Event()
    directory.on_change.append(changed_.set)
    task = asyncio.create_task(directory.run())
    try:
        await asyncio.wait_for(directory.ready.wait(), 5)
        client, _ = await create_client(rig.store, name="app", scopes=("admin",))
        await ensure_signing_key(rig.store)
        await revoke_token(rig.store, "t1", utc_now() + timedelta(seconds=5))
        async with asyncio.timeout(5):
            while not (
                client.id in directory.clients
                and directory.signing_key
                and "t1" in directory.revoked
            ):
                changed_.clear()
                await changed_.wait()
            await rig.store.client.put(rig.store.keys.client("broken"), b"{")
            await delete_client(rig.store, client.id)
            while client.id in directory.clients:
                changed_.clear()
                await changed_.wait()
        assert directory.synced and "broken" not in directory.clients
        assert isinstance(client, Client)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_health_of_an_etcd_that_is_not_there_says_so(rig: Rig) -> None:
    assert (await check(rig.store)).ok
    async with rig_for(
        changed(rig.settings, etcd_endpoints=("http://127.0.0.1:1",), etcd_timeout=0.5)
    ) as nowhere:
        health = await check(nowhere.store)
        assert not health.ok and "does not answer" in health.reasons[0]
