"""States of sites whose lease goes on after their end: an etcd without checkpoints begins it again.

Here the lease is longer from the start.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store import Store, codec
from babygun.store.records import Hold, Lowered, SiteState, SomeLimits
from babygun.store.sites import holds as store_holds
from babygun.store.sites import limits as store_limits
from babygun.store.sites.holds import Held, Holds, end_by_operator, list_holds
from babygun.store.sites.limits import KeptLimits, SharedLimits, list_limits
from babygun.worker.sites.outlived import Outlived
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


async def test_states_that_another_worker_ended_first_are_read_once(
    main_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand senders may be held at once, and each read is of all."""
    store, over = main_rig.store, utc_now() - HOUR
    read: list[str] = []
    asked: list[str] = []

    class CountedHolds(Holds):
        async def read(self) -> int:
            read.append("holds")
            return await super().read()

    class CountedLimits(SharedLimits):
        async def read(self) -> int:
            read.append("limits")
            return await super().read()

    end_hold, end_limits = store_holds.end, store_limits.end

    async def end_one(store: Store, held: Held) -> bool:
        asked.append(held.name)
        return await end_hold(store, held)

    async def end_some(store: Store, site: str, before: KeptLimits | None = None) -> bool:
        asked.append(site)
        return await end_limits(store, site, before)

    monkeypatch.setattr(store_holds, "end", end_one)
    monkeypatch.setattr(store_limits, "end", end_some)
    names = [f"s{n}.example" for n in range(4)]
    for name in names:
        await put(main_rig, store.keys.hold("main", name), hold(over, sender=name))
        lowered = Lowered(
            site=name,
            limits=SomeLimits(connections=1),
            reason="too-many",
            since=over,
            set_by="w1",
            until=over,
        )
        await put(main_rig, store.keys.limit(name), lowered)
    holds, limits = CountedHolds(store), CountedLimits(store)
    await holds.read()
    await limits.read()
    for name in names:
        await end_by_operator(store, "main", name)
        await end_limits(store, name)
    outlived = Outlived(store, holds, limits)
    outlived.look()
    assert outlived._ending is not None
    del holds.by_name["main/s3.example"], limits.by_name["s3.example"]  # their watches do it
    await outlived._ending
    assert asked == [*(f"main/{name}" for name in names[:3]), *names[:3]]
    assert read[2:] == ["holds", "limits"]
    assert not holds.by_name and not limits.by_name
