"""``babygun …`` as a fixture: against a real etcd, and against a real API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from babygun.store.access.clients import create_client
from tests.support.api import running, until_ready
from tests.support.commands import Command
from tests.support.rig import Rig, changed


@pytest.fixture
def babygun(rig: Rig, tmp_path: Path) -> Command:
    """Commands in an empty folder, with the rig's etcd and relay."""
    return Command(rig.settings, tmp_path)


@pytest.fixture
async def with_api(rig: Rig, tmp_path: Path) -> AsyncIterator[Command]:
    """Commands that know an API, and a client of it with all scopes."""
    async with commands_with_api(rig, tmp_path) as command:
        yield command


@asynccontextmanager
async def commands_with_api(rig: Rig, folder: Path, **settings: object) -> AsyncIterator[Command]:
    """``settings``: the API's own."""
    client, secret = await create_client(rig.store, name="cli", scopes=("admin",))
    served = changed(
        rig.settings,
        api_host="127.0.0.1",
        api_port=0,
        drain_timeout=2.0,
        etcd_timeout=30.0,  # a busy machine's etcd may need more than 5 s for many e-mails
        **settings,
    )
    async with running(served, rig.store) as api:
        await until_ready(api)
        yield Command(
            changed(rig.settings, api_url=api.url, client_id=client.id, client_secret=secret),
            folder,
        )
