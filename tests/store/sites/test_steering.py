"""What operators do about a site."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from babygun.runtime.clock import utc_now
from babygun.store.sites import steering
from babygun.store.sites.holds import list_holds
from babygun.store.sites.limits import list_limits
from tests.support.rig import Rig

SOON = timedelta(hours=1)


async def test_operator_holds_a_site_until_an_end_and_resumes_it(rig: Rig) -> None:
    until = utc_now() + SOON
    await steering.hold(rig.store, "mx:google", reason=" asked to ", until=until, by="ann")
    await steering.hold(rig.store, "mx:google", reason="again", until=until, by="bob")
    (hold,) = await list_holds(rig.store)
    assert (hold.reason, hold.status_reason, hold.set_by) == ("operator", "again", "bob")
    assert hold.by_operator and hold.until == hold.probe_at == until
    assert await steering.resume(rig.store, "mx:google")
    assert not await steering.resume(rig.store, "mx:google")
    assert await list_holds(rig.store) == []


async def test_operator_limits_a_site_for_a_while(rig: Rig) -> None:
    await steering.limit(rig.store, "mx:google", rate="10/min", until=utc_now() + SOON, by="ann")
    (lowered,) = await list_limits(rig.store)
    assert lowered.by_operator and str(lowered.limits.rate) == "10/min"
    assert await steering.unlimit(rig.store, "mx:google")
    assert not await steering.unlimit(rig.store, "mx:google")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "give a limit"),
        ({"connections": 0}, "connections is 0: give 1 to 10000"),
        ({"messages_per_connection": 10_001}, "give 1 to 10000"),
        ({"rate": "fast"}, "rate 'fast' is not of the form 10/s"),
        ({"connections": 1, "until": utc_now() - SOON}, "until must be in the future"),
        ({"connections": 1, "until": utc_now() + timedelta(days=99)}, "at most 31 days"),
        ({"connections": 1, "site": "a/b"}, "no name of a site"),
        ({"connections": 1, "site": "mx:"}, "no name of a site"),
    ],
)
async def test_wrong_limits_are_refused_with_what_to_give_instead(
    rig: Rig, changes: dict[str, Any], words: str
) -> None:
    given: dict[str, Any] = {"site": "mx:a", "until": utc_now() + SOON, "by": "ann"} | changes
    with pytest.raises(ValueError, match=words):
        await steering.limit(rig.store, **given)
    assert await list_limits(rig.store) == []


@pytest.mark.parametrize(
    "site", ["main", "mx:google", "mx:mx_1.example", "mx:-in-.example", "mx:*.example", "mx:host."]
)
async def test_any_name_that_a_site_may_get_from_dns_can_be_held_and_resumed(
    rig: Rig, site: str
) -> None:
    await steering.hold(rig.store, site, reason="pause", until=utc_now() + SOON, by="ann")
    assert [hold.site for hold in await list_holds(rig.store)] == [site]
    assert await steering.resume(rig.store, site)


async def test_hold_without_a_reason_is_refused(rig: Rig) -> None:
    with pytest.raises(ValueError, match="say why"):
        await steering.hold(rig.store, "mx:a", reason=" ", until=utc_now() + SOON, by="ann")
