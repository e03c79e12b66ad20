"""The view of warm-ups: what a new source may send by day, and has sent."""

from __future__ import annotations

import re

from babygun.runtime.settings import Settings
from tests.browser.stage import Page, expect, stage_for
from tests.browser.test_every_view import warm_up

NAME = "shop.example"


async def test_warm_up_shows_its_curve_what_waits_for_tomorrow_and_is_ended_and_begun_again(
    page: Page, settings: Settings, one_day: None
) -> None:
    async with stage_for(settings, worker=False, warm_up="both") as stage:
        await warm_up(stage.rig.store, NAME)
        await stage.sign_in(page, "/page/sites")
        waits = page.locator(".held")
        await expect(waits).to_contain_text("day 3, 200 of 200 to google today")
        await waits.get_by_role("link", name="Warm-ups").click()
        source = page.locator(".warming", has_text=NAME)
        await expect(source).to_contain_text(re.compile("may send to 200 recipients of each"))
        await expect(source).to_contain_text("tomorrow to 400")
        google = source.locator("li", has_text="mx:google")
        await expect(google.locator(".bar")).to_have_count(4)  # three days, and tomorrow
        label = "mx:google, day 3: 200 of 200, 130 put off"
        await expect(google.get_by_role("img", name=label)).to_be_visible()
        await google.get_by_text("In numbers").click()
        await expect(google.locator("tbody tr")).to_have_count(3)
        await expect(google.locator("tbody tr").last).to_contain_text("50")
        await page.get_by_role("button", name=f"End it: {NAME}").click()
        await page.get_by_role("dialog").get_by_role("button", name="End it").click()
        await expect(source).to_contain_text("An operator ended its warm-up")
        await page.get_by_role("button", name=f"Begin again: {NAME}").click()
        await page.get_by_role("dialog").get_by_role("button", name="Begin again").click()
        await expect(source.locator(".standing")).to_contain_text("day 1")
        await expect(source).to_contain_text("may send to 50 recipients")
