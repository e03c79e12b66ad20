"""``babygun worker``: what it refuses to start with."""

from __future__ import annotations

from tests.support.commands import Command
from tests.support.rig import changed


async def test_worker_without_a_relay_says_what_to_set(babygun: Command) -> None:
    result = await Command(changed(babygun.settings, relays={}), babygun.folder)("worker")
    assert result.status == 2 and "BABYGUN_RELAY_URL" in result.error


async def test_worker_on_a_machine_without_a_source_address_says_so(babygun: Command) -> None:
    settings = changed(
        babygun.settings, relays={}, default="mx", source_addresses=("203.0.113.77", "203.0.113.78")
    )
    result = await Command(settings, babygun.folder)("worker")
    assert result.status == 2
    assert "none of 203.0.113.77, 203.0.113.78 is an address of this machine" in result.error
