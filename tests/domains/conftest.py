"""A store beside a DNS whose records a test may change."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.dns_servers import Zone, scripted
from tests.support.domains import sealing
from tests.support.rig import Rig, changed, rig_for


@pytest.fixture
async def with_dns(rig: Rig) -> AsyncIterator[tuple[Rig, Zone]]:
    """A rig whose resolver answers from the zone."""
    zone = Zone({})
    async with (
        scripted(zone) as server,
        rig_for(changed(rig.settings, resolvers=(server,), **sealing())) as own,
    ):
        yield own, zone
