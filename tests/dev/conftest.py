"""What the tests of `babygun dev` share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.development import Dev, dev_in


@pytest.fixture
async def dev(tmp_path: Path) -> AsyncIterator[Dev]:
    """A `babygun dev` of the test's own, in a folder of its own."""
    async with dev_in(tmp_path) as dev:
        yield dev
