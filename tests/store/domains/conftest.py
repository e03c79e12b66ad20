"""A store on a real etcd, with a key that seals secrets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from babygun.runtime.settings import Settings
from babygun.store import Store
from tests.store.domains.steps import sealing


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    async with Store(sealing(settings)) as store:
        yield store
