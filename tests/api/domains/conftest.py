"""An API that can seal keys, and clients that may have domains."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.records import Scope
from tests.api.domains.calls import Holder
from tests.store.domains.steps import sealing
from tests.support.api import RunningApi, basic, running, until_ready


@pytest.fixture
async def api(api_settings: Settings, store: Store) -> AsyncIterator[RunningApi]:
    async with running(sealing(api_settings), store) as api:
        await until_ready(api)
        yield api


async def _holder(api: RunningApi, *scopes: Scope) -> Holder:
    client, secret = await api.client(*scopes)
    answer = await api.call("POST", "/tokens", token="", headers=basic(client.id, secret))
    return Holder(api, client, answer.json["token"])


@pytest.fixture
async def shop(api: RunningApi) -> Holder:
    return await _holder(api, "domains", "emails:send")


@pytest.fixture
async def other(api: RunningApi) -> Holder:
    return await _holder(api, "domains")


@pytest.fixture
async def admin(api: RunningApi) -> Holder:
    return await _holder(api, "admin")
