"""States of sites whose lease goes on after their end: an etcd without checkpoints begins it again.

Here the lease is longer from the start.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store import codec
from babygun.store.records import Hold, Lowered, SiteState, SomeLimits
from babygun.store.sites.holds import list_holds
from babygun.store.sites.limits import list_limits
from tests.support.rig import Rig, quick, rig_for
from tests.support.smtp_server import MisbehavingServer

SOON = timedelta(seconds=3)
HOUR = timedelta(hours=1)


@pytest.fixture
async def main_rig(settings: Settings, smtp: MisbehavingServer) -> AsyncIterator[Rig]:
    async with rig_for(quick(settings, {"main": {"url": smtp.url, "rate": "1/s"}})) as rig:
        yield rig


async def put(rig: Rig, key: bytes, state: SiteState) -> None:
    await rig.store.client.put(key, codec.encode_state(state), await rig.store.client.grant(3600))


def hold(until: datetime, *, sender: str = "", by_operator: bool = False) -> Hold:
    return Hold(
        site="main",
        sender=sender,
        reason="operator" if by_operator else "authentication",
        since=utc_now(),
        set_by="ann",
        by_operator=by_operator,
        probe_at=until,
        until=until,
    )


async def test_mail_goes_when_the_end_of_an_operators_hold_has_come(main_rig: Rig) -> None:
    rig, until = main_rig, utc_now() + SOON
    key = rig.store.keys.hold("main")
    await put(rig, key, hold(until, by_operator=True))
    async with rig.worker():
        [email] = await rig.ended(await rig.send("bob@example.org"))
        await rig.emptied(rig.store.keys.holds)
    assert email.status == "complete" and email.updated_at >= until


async def test_only_holds_that_nobody_probes_are_ended(main_rig: Rig) -> None:
    """That of a site ends by the next e-mail. It may be refused still."""
    rig, over = main_rig, utc_now() - HOUR
    await put(rig, rig.store.keys.hold("main"), hold(over))
    await put(rig, rig.store.keys.hold("main", "example.com"), hold(over, sender="example.com"))
    async with rig.worker():
        await rig.counted(rig.store.keys.holds, 1)
    assert [each.name for each in await list_holds(rig.store)] == ["main"]


async def test_limits_end_when_their_end_has_come_and_others_stay(main_rig: Rig) -> None:
    rig, limits = main_rig, SomeLimits(connections=1)
    for site, lasts, by_operator in (
        ("main", SOON, True),
        ("mx:one", SOON, False),
        ("mx:two", HOUR, True),
    ):
        until = utc_now() + lasts
        state = Lowered(
            site=site,
            limits=limits,
            reason="operator",
            since=utc_now(),
            set_by="ann",
            by_operator=by_operator,
            until=until,
        )
        await put(rig, rig.store.keys.limit(site), state)
    async with rig.worker():
        await rig.counted(rig.store.keys.limits, 1)
    assert [each.site for each in await list_limits(rig.store)] == ["mx:two"]
