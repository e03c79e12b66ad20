"""API clients in etcd: made, read, changed, deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from babygun.errors import OutcomeUnknown, OutOfSpace
from babygun.runtime.clock import utc_now
from babygun.store import Store
from babygun.store.access.client_secrets import verify_secret
from babygun.store.access.clients import (
    create_client,
    delete_client,
    get_client,
    list_clients,
    rotate_secret,
)
from babygun.store.records import Client
from tests.support.faulty_etcd import Fault, FaultyProcess
from tests.support.rig import Rig


@pytest.fixture
async def process(rig: Rig) -> AsyncIterator[FaultyProcess]:
    process = FaultyProcess(rig.settings)
    await process.store.start()
    yield process
    await process.close()


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


# How the first write may fail, and the request after it.
UNSURE: list[tuple[Fault, Fault | None]] = [
    ("full", None),
    ("full", "full"),
    ("full", "refused"),
    ("unanswered", "full"),
    ("lost", "full"),
    ("lost", "refused"),
]


async def _do(
    process: FaultyProcess, number: int, faults: tuple[Fault, Fault | None], call: Any
) -> tuple[Client, str] | None:
    """None: nobody knows whether the call was done."""
    wanted = {number + n: fault for n, fault in enumerate(faults) if fault}
    try:
        made: tuple[Client, str] = await process.do(call, faults=wanted)
    except OutcomeUnknown:
        return None
    return made


@pytest.mark.parametrize("faults", UNSURE)
async def test_secret_of_a_client_that_is_made_is_given_out(
    rig: Rig, process: FaultyProcess, faults: tuple[Fault, Fault | None]
) -> None:
    async def create(store: Store) -> tuple[Client, str]:
        return await create_client(store, name="app", scopes=("emails:send",), client_id="app")

    made = await _do(process, 2, faults, create)
    stored = await get_client(rig.store, "app")
    assert made is None or (stored == made[0] and verify_secret(stored, made[1], utc_now()))
    assert made is not None or "refused" in faults


@pytest.mark.parametrize("faults", UNSURE)
async def test_new_secret_that_is_stored_is_given_out(
    rig: Rig, process: FaultyProcess, faults: tuple[Fault, Fault | None]
) -> None:
    await create_client(rig.store, name="app", scopes=("emails:send",), client_id="app")

    async def rotate(store: Store) -> tuple[Client, str]:
        return await rotate_secret(store, "app")

    made = await _do(process, 2, faults, rotate)
    stored = await get_client(rig.store, "app")
    assert made is None or (stored == made[0] and verify_secret(stored, made[1], utc_now()))
    assert made is not None or "refused" in faults


async def test_client_that_a_full_etcd_does_not_take_is_not_made(
    rig: Rig, process: FaultyProcess
) -> None:
    async def refuse(*_: Any, **__: Any) -> Any:
        raise OutOfSpace

    process.store.client.txn = refuse  # type: ignore[method-assign]
    with pytest.raises(OutOfSpace):
        await process.do(lambda store: create_client(store, name="app", scopes=()))
    assert not await list_clients(rig.store)
