"""The view of sites: what waits for them and why; hold, resume and limit them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from babygun.email.tries import RecipientResult
from babygun.routing.providers import Limits, Rate
from babygun.runtime.settings import Settings
from babygun.store.records import SiteReport
from babygun.store.sites import holds
from babygun.store.sites.reports import write_report
from tests.browser.stage import Page, Stage, expect, stage_for, type_at_once


@pytest_asyncio.fixture(loop_scope="session")
async def straight(settings: Settings) -> AsyncIterator[Stage]:
    """All mail goes straight to its domains, and nobody sends it."""
    async with stage_for(settings, worker=False, default="mx") as stage:
        yield stage


def site(page: Page, name: str) -> Any:
    return page.locator(".sites tbody tr", has_text=name)


async def report(stage: Stage) -> None:
    """Mail for three sites: one goes, one is slow, one is held for two reasons."""
    store = stage.rig.store
    google = Limits(5, 50, Rate(100, 1))
    rows = [
        SiteReport(
            site="mx:google",
            queues=311,
            waiting=1204,
            connections=5,
            limits=google,
            shared=True,
            sent=2900,
            deferred=12,
            why="pace",
        ),
        SiteReport(site="mx:a.example", queues=1, waiting=3, limits=google, why="slot"),
        SiteReport(site="mx:gmx", queues=2, waiting=40, why="held"),
    ]
    lease = await store.client.grant(600)
    await write_report(store, rows, worker_id="one", lease_id=lease)
    blocked = RecipientResult("hold", "ip_block", 554, "5.7.1", "<b>blocked</b>, see our list")
    await holds.begin(store, "mx:gmx", blocked, worker_id="one", first_probe=900.0)
    no_spf = RecipientResult("hold", "authentication", 421, "4.7.26", "no SPF")
    await holds.begin(
        store, "mx:google", no_spf, worker_id="one", sender="news.example.com", first_probe=900.0
    )


async def test_sites_show_what_waits_why_and_what_servers_said(page: Page, stage: Stage) -> None:
    await report(stage)
    client = await stage.client("workers:read")
    await stage.sign_in(page, "/page/sites", client)
    google = site(page, "mx:google")
    await expect(google.get_by_role("cell")).to_have_count(6)
    await expect(google).to_contain_text("311 domains")
    await expect(google).to_contain_text("2,900 sent")
    await expect(google).to_contain_text("5 × 50, 100/s")
    await expect(google).to_contain_text("Its rate takes no more.")
    await expect(google).to_contain_text("Mail of news.example.com is held: 421 4.7.26 no SPF")
    await expect(google).to_contain_text(re.compile(r"It goes again in 1[0-4]:\d\d"))
    await expect(site(page, "mx:gmx")).to_contain_text("554 5.7.1 <b>blocked</b>, see our list")
    soon = re.compile(r"One e-mail tries next in 1[0-4]:\d\d")
    await expect(site(page, "mx:gmx")).to_contain_text(soon)
    await expect(site(page, "mx:a.example")).to_contain_text("Other workers")
    await expect(page.locator("main").get_by_role("button")).to_have_count(0)


async def test_site_is_held_its_email_says_why_and_goes_on_after_the_end(
    page: Page, stage: Stage
) -> None:
    await stage.sign_in(page, "/page/sites")
    await page.get_by_role("button", name="Hold… main").click()
    await page.get_by_role("button", name="Hold", exact=True).click()
    await expect(page.get_by_label("Reason")).to_be_focused()  # it is required
    await page.get_by_label("Reason").fill("they asked <b>us</b> to pause")
    await page.get_by_label("For").select_option("2 hours")
    await page.get_by_role("button", name="Hold", exact=True).click()
    main = site(page, "main")
    await expect(main).to_contain_text("they asked <b>us</b> to pause")
    await expect(main).to_contain_text(re.compile(r"It goes again in 1:5\d:\d\d"))
    email_id = await stage.api.accepted(to="ann@example.org")
    await stage.open(page, f"/page/emails/{email_id}")
    await expect(page.locator(".standing")).to_contain_text("main is held")
    waits = page.locator(".recipients .waits")
    await expect(waits).to_contain_text("Waits: main is held by an operator")
    await expect(waits).to_contain_text("they asked <b>us</b> to pause (in 1:5")
    await stage.open(page, "/page/sites")
    await page.get_by_role("button", name="Resume main").click()
    await expect(main).not_to_contain_text("Held")
    await stage.open(page, f"/page/emails/{email_id}")
    await expect(page.locator(".standing .badge")).to_have_text("complete")
    await expect(page.locator(".waits")).to_have_count(0)


async def test_site_is_limited_for_a_while_and_a_form_says_what_is_wrong(
    page: Page, straight: Stage
) -> None:
    stage = straight
    await report(stage)
    await stage.sign_in(page, "/page/sites")
    await page.get_by_role("button", name="Limit… mx:google").click()
    await page.get_by_role("button", name="Limit", exact=True).click()
    await expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("limit")
    await page.get_by_label("Connections at once").fill("2")
    await page.get_by_label("Messages in a time").fill("20/min")
    await page.get_by_label("Reason").fill("new address")
    await page.get_by_role("button", name="Limit", exact=True).click()
    google = site(page, "mx:google")
    await expect(google).to_contain_text("2 × 50, 20/min")
    await expect(google).to_contain_text("usually 5 × 50")
    fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert await page.evaluate(fits)
    await expect(google).to_contain_text("new address")
    await page.get_by_role("button", name="Resume news.example.com at mx:google").click()
    await expect(google).not_to_contain_text("news.example.com")
    await page.get_by_role("button", name="Usual limits mx:google").click()
    await expect(google).not_to_contain_text("usually")


async def test_site_without_mail_is_held_by_keys_alone(page: Page, stage: Stage) -> None:
    await stage.sign_in(page, "/page/overview")
    await type_at_once(page, "gi")
    await expect(site(page, "main")).to_be_visible()
    await page.keyboard.press("+")
    await page.keyboard.type("NO SITE")
    await page.keyboard.press("Tab")
    await page.keyboard.type("block list")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("no name")
    await page.get_by_role("textbox", name="Site").fill("mx:gmx")
    await page.get_by_role("textbox", name="Site").press("Enter")
    await expect(site(page, "mx:gmx")).to_contain_text("block list")
