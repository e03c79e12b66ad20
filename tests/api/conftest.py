"""The served API over real HTTP, on a real etcd."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from babygun.api.http import entrance, server
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.access.clients import create_client
from tests.support.api import (
    SEND_AND_READ,
    RunningApi,
    StartApi,
    running,
    until_ready,
)
from tests.support.proxy import Proxy, proxy_to


@pytest.fixture(autouse=True)
def patient_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is cut off because this machine stood still for some seconds."""
    monkeypatch.setattr(server, "_LINGER", 60.0)
    monkeypatch.setattr(entrance, "_PATIENCE", 60.0)
    monkeypatch.setattr(entrance, "_HANDSHAKE", 60.0)


@pytest.fixture
def api_settings(settings: Settings) -> Settings:
    return replace(
        settings,
        api_host="127.0.0.1",
        api_port=0,
        relay_url="smtp://127.0.0.1:2525",
        etcd_timeout=20.0,
        drain_timeout=2.0,
    )


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    async with Store(settings) as store:
        yield store


@pytest.fixture
async def api(api_settings: Settings, store: Store) -> AsyncIterator[RunningApi]:
    """A ready API with a token that may send and read.

    The client of the token is made before the API starts, so that the API surely knows it.
    """
    known = await create_client(store, name="test", scopes=SEND_AND_READ)
    async with running(api_settings, store) as api:
        await until_ready(api)
        api.token = await api.token_of(*known)
        yield api


@pytest.fixture
async def start_api(api_settings: Settings, store: Store) -> AsyncIterator[StartApi]:
    """Starts further APIs on the same etcd, with some settings changed.

    Each knows the client of its token.
    """
    async with AsyncExitStack() as stack:

        async def start(*, ready: bool = True, **changes: Any) -> RunningApi:
            settings = replace(api_settings, **changes)
            known = await create_client(store, name="test", scopes=SEND_AND_READ)
            api = await stack.enter_async_context(running(settings, store))
            if ready:
                await until_ready(api)
                api.token = await api.token_of(*known)
            return api

        yield start


@pytest.fixture
async def proxy(settings: Settings) -> AsyncIterator[Proxy]:
    async with proxy_to(settings.etcd_endpoints[0]) as proxy:
        yield proxy


@pytest.fixture
async def far(proxy: Proxy, start_api: StartApi) -> RunningApi:
    """An API whose etcd is behind the proxy, with less patience. It ends before the proxy does."""
    return await start_api(etcd_endpoints=(proxy.url,), etcd_timeout=6.0)
