"""The door on a real etcd, without HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from msgspec.structs import replace as changed

from babygun.intake.accept import Intake
from babygun.intake.quota_guard import QuotaGuard
from babygun.routing.routes import load_routes
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.records import Client
from babygun.store.unsubscribe.keys import UnsubscribeKeys

CLIENT = Client("shop", "shop", ("emails:send",), "", utc_now(), rate=None)


def caller(identity: str) -> Client:
    """The client of this id, with or without a serial, as an API process knows it."""
    client_id, _, serial = identity.partition(":")
    return changed(CLIENT, id=client_id, serial=serial)


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    async with Store(replace(settings, relay_url="smtp://127.0.0.1:2525")) as store:
        yield store


@pytest.fixture
def quota_guard(store: Store) -> QuotaGuard:
    return QuotaGuard(store)


@pytest.fixture
def intake(store: Store, quota_guard: QuotaGuard) -> Intake:
    return Intake(store, load_routes(store.settings), quota_guard, UnsubscribeKeys(store))
