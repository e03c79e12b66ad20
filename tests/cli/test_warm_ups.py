"""``babygun warm-ups`` against a real API, and what ``babygun doctor`` says of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from babygun.cli.warm_up_checks import check_warm_ups
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store.warm_ups.counts import change, take
from babygun.store.warm_ups.sources import begin
from tests.support.commands import Command
from tests.support.rig import Rig, changed, quick, rig_for

ADDRESS, SITE = "192.0.2.7", "mx:outlook"


@pytest.fixture
async def rig(settings: Settings, one_day: None) -> AsyncIterator[Rig]:
    on = {
        "default": "mx",
        "warm_up": "both",
        "source_addresses": (ADDRESS, "192.0.2.8"),
        "warm_up_table": (50, 100, 200),
        "warm_up_began": {"192.0.2.8": (utc_now() - timedelta(days=90)).date()},
    }
    async with rig_for(quick(settings, {}, **on)) as rig:
        yield rig


async def fill(rig: Rig) -> None:
    """The third day of the address: its mail to a provider waits."""
    now = utc_now()
    kept = await begin(rig.store, ADDRESS, now - timedelta(days=2))
    for day, ceiling in ((now - timedelta(days=1), 100), (now, 200)):
        await take(rig.store, kept, SITE, day.date(), ceiling=ceiling, wanted=ceiling, workers=1)
    await change(rig.store, ADDRESS, SITE, now.date(), put_off=1300)


async def test_warm_ups_are_listed_shown_skipped_and_begun_again(
    rig: Rig, with_api: Command
) -> None:
    await fill(rig)
    listed = (await with_api("warm-ups")).out.splitlines()
    began = str((utc_now() - timedelta(days=2)).date())
    assert listed[1].split()[:5] == [ADDRESS, began, "3", "200", "200"]
    assert listed[1].endswith("200 to mx:outlook  mx:outlook") and "warm" in listed[2]
    shown = (await with_api("warm-ups", "show", ADDRESS)).out
    assert "####################  200 of 200, 1,300 put off" in shown
    assert "warm-up of 192.0.2.7: day 3, 200 of 200 to outlook today" in shown
    skipped = await with_api("warm-ups", "skip", ADDRESS, "--json")
    assert json.loads(skipped.out)["warm"] is True
    again = (await with_api("warm-ups", "restart", ADDRESS)).out
    assert "said by             operator " in again and "a day at each site  50" in again
    refused = await with_api("warm-ups", "restart", "192.0.2.8")
    assert refused.status == 1
    assert "setting warm_up_began says when 192.0.2.8 began" in refused.error


async def test_doctor_says_how_far_each_source_is(rig: Rig) -> None:
    async def said(**changes: object) -> list[str]:
        async with rig_for(changed(rig.settings, **changes)) as other:
            return [f"{each.level} {each.sentence}" async for each in check_warm_ups(other.store)]

    assert await said() == []
    await fill(rig)
    assert await said() == [
        "warn 192.0.2.7 warms up: day 3, 200 recipients at each provider today;"
        " 1,300 to mx:outlook wait for tomorrow"
    ]
    mistyped, *_ = await said(warm_up_began={"exmaple.com": utc_now().date()})
    assert mistyped == (
        "warn warm_up_began names exmaple.com, which is neither one of source_addresses nor a"
        " sending domain"
    )
    assert await said(warm_up="off") == ["ok nothing warms up: the setting warm_up is off"]
    assert await said(default="", relay_url="smtp://127.0.0.1:1") == []
