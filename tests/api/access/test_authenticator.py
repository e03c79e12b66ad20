"""Which tokens a process remembers, and that their memory has an end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta

import jwt
import pytest
from msgspec.structs import replace

from babygun.api.access import authenticator
from babygun.api.access.authenticator import Authenticator
from babygun.api.access.signing_key import until_tokens_work
from babygun.api.http.problems import Problem
from babygun.runtime.clock import utc_now
from babygun.store import Store
from babygun.store.access.clients import create_client, rotate_secret
from babygun.store.access.known_clients import KnownClients
from babygun.store.access.signing_keys import SPREAD, make_signing_key


@pytest.fixture
async def known_clients(store: Store) -> AsyncIterator[KnownClients]:
    await make_signing_key(store, "a1")
    await create_client(store, name="shop", scopes=("emails:read",), client_id="shop")
    known = KnownClients(store)
    task = asyncio.create_task(known.run())
    await until_tokens_work(known)
    yield known
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_token_is_remembered_in_its_usual_form_only(
    store: Store, known_clients: KnownClients
) -> None:
    checked = Authenticator(store, known_clients)
    token, access = checked.issue(known_clients.clients["shop"], ("emails:read",), 60)
    for header in (*(f"Bearer {' ' * spaces}{token}" for spaces in range(1, 9)), f"bearer {token}"):
        assert (await checked.authorize(header, None)).jti == access.jti
    assert not checked._verified
    await checked.authorize(f"Bearer {token}", "emails:read")
    assert list(checked._verified) == [f"Bearer {token}"]


async def test_remembered_tokens_take_bounded_memory(
    store: Store, known_clients: KnownClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authenticator, "_REMEMBERED", 5000)
    checked = Authenticator(store, known_clients)
    for _ in range(20):
        token, _ = checked.issue(known_clients.clients["shop"], ("emails:read",), 60)
        await checked.authorize(f"Bearer {token}", None)
        assert f"Bearer {token}" in checked._verified
        assert sum(map(len, checked._verified)) < 5000


@pytest.mark.parametrize("ahead", [-600, 600])  # s, of the clock of the process that issues
async def test_token_of_a_process_with_another_clock_is_taken(
    store: Store, known_clients: KnownClients, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    client = known_clients.clients["shop"]
    with monkeypatch.context() as patched:
        patched.setattr(authenticator.time, "time", lambda now=time.time: now() + ahead)
        token, _ = Authenticator(store, known_clients).issue(client, ("emails:read",), 3600)
    checked = Authenticator(store, known_clients)
    access = await checked.authorize(f"Bearer {token}", "emails:read")
    assert checked.holds(access, "emails:read")
    await checked.revoke(access)
    with pytest.raises(Problem, match="revoked"):
        await checked.authorize(f"Bearer {token}", None)


async def test_token_is_taken_though_the_change_of_its_client_has_not_come_here(
    store: Store, known_clients: KnownClients
) -> None:
    before = known_clients.clients["shop"]
    client, _ = await rotate_secret(store, "shop", end_tokens=True)
    checked = Authenticator(store, known_clients)
    token, _ = checked.issue(client, ("emails:read",), 60)
    known_clients.clients["shop"] = before
    access = await checked.authorize(f"Bearer {token}", "emails:read")
    assert access.client == client
    old, _ = checked.issue(before, ("emails:read",), 60)
    known_clients.clients["shop"] = client
    with pytest.raises(Problem, match="were ended"):
        await checked.authorize(f"Bearer {old}", "emails:read")


async def test_token_of_an_old_key_is_taken_until_the_key_goes(
    store: Store, known_clients: KnownClients
) -> None:
    checked, client = Authenticator(store, known_clients), known_clients.clients["shop"]
    (old,) = known_clients.signing_keys.values()
    first, _ = checked.issue(client, ("emails:read",), 60)
    at = utc_now()
    known_clients.signing_keys[old.kid] = replace(old, created_at=at - timedelta(hours=1))
    known_clients.signing_keys["new"] = replace(old, kid="new", created_at=at - 2 * SPREAD)
    second, _ = checked.issue(client, ("emails:read",), 60)
    kids = [jwt.get_unverified_header(token)["kid"] for token in (first, second)]
    assert kids == [old.kid, "new"]
    for token in (first, second):
        assert await checked.authorize(f"Bearer {token}", "emails:read")
    del known_clients.signing_keys[old.kid]
    checked._forget()
    with pytest.raises(Problem, match="not known here"):
        await checked.authorize(f"Bearer {first}", "emails:read")
    assert await checked.authorize(f"Bearer {second}", "emails:read")
