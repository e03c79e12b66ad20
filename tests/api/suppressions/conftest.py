"""An API with a client that may see to its suppressions."""

from __future__ import annotations

import pytest

from tests.support.api import RunningApi


@pytest.fixture
async def api(api: RunningApi) -> RunningApi:
    api.token = await api.token_for("suppressions")
    return api
