"""What the tests of the live stream share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest

from babygun.api.live import hub
from babygun.runtime.settings import Settings
from babygun.store import Store
from tests.support.api import RunningApi, running, until_ready
from tests.support.etcd_server import EtcdServer
from tests.support.processes import PATIENCE
from tests.support.rig import Rig, quick, rig_for
from tests.support.smtp_server import MisbehavingServer


@pytest.fixture(autouse=True)
def patient_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait for the hub to start, however slow this machine is; at most for etcd_timeout."""
    monkeypatch.setattr(hub, "START_TIMEOUT", 20.0)


@pytest.fixture
def api_settings(settings: Settings, smtp: MisbehavingServer) -> Settings:
    return quick(
        settings,
        {"main": {"url": smtp.url}},
        api_port=0,
        etcd_timeout=20.0,
        drain_timeout=5.0,
        retry_intervals=(0.5,),
    )


@pytest.fixture
async def sending(api_settings: Settings) -> AsyncIterator[Rig]:
    async with rig_for(api_settings) as rig:
        yield rig


@pytest.fixture
async def alone(settings: Settings) -> AsyncIterator[tuple[RunningApi, Store, EtcdServer]]:
    """An API, its store and an etcd that nobody else uses."""
    with EtcdServer(fsync=False) as etcd:
        own = replace(
            settings,
            etcd_endpoints=(etcd.endpoint,),
            relay_url="smtp://127.0.0.1:2525",
            api_port=0,
            etcd_timeout=20.0,
        )
        async with Store(own) as store, running(own, store) as api:
            await until_ready(api)
            api.token = await api.token_for()
            await fallen_to(etcd, AT_REST)
            yield api, store, etcd


# Watches of an API while nobody listens: of what its services follow.
AT_REST = 11


async def watchers(etcd: EtcdServer) -> int:
    """How many watches etcd has."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{etcd._health_port}/metrics") as response,
    ):
        return next(
            int(float(line.split()[1]))
            for line in (await response.text()).splitlines()
            if line.startswith("etcd_debugging_mvcc_watcher_total")
        )


async def fallen_to(etcd: EtcdServer, count: int) -> None:
    """Waits until etcd has so many watches."""
    async with asyncio.timeout(PATIENCE):
        while await watchers(etcd) != count:  # noqa: ASYNC110 (another process's state)
            await asyncio.sleep(0.05)
