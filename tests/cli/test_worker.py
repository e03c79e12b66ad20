"""``babygun worker``: what it refuses to start with."""

from __future__ import annotations

from tests.support.commands import Command
from tests.support.rig import changed


async def test_worker_without_a_relay_says_what_to_set(babygun: Command) -> None:
    result = await Command(changed(babygun.settings, relays={}), babygun.folder)("worker")
    assert result.status == 2 and "BABYGUN_RELAY_URL" in result.error
