"""Several tabs of one browser, and an API that does not answer."""

from __future__ import annotations

import pytest

from babygun.api.live import stream
from tests.browser.stage import Page, Stage, expect, row
from tests.support.development import answered
from tests.support.proxy import proxy_to

TABS = 8  # a browser has six connections per server
LIMIT = 11_000  # ms, in which an answer must have come


async def test_tabs_of_one_browser_are_live_by_one_stream(page: Page, stage: Stage) -> None:
    email_id = await stage.api.accepted(subject="Watched", to="hang-ann@example.org")
    await stage.sign_in(page)
    tabs = [await page.context.new_page() for _ in range(TABS)]
    for tab in tabs:
        await stage.open(tab, f"/page/emails/{email_id}")
    for tab in (page, *tabs):
        await expect(tab.locator(".live")).to_have_text("Live")
    # The API may see the end of another one later.
    await answered(stage.api.metrics, lambda found: found.get("babygun_event_listeners") == 1)
    stage.smtp.release()
    for tab in tabs:
        await expect(tab.locator(".standing .badge")).to_have_text("complete")
    await expect(row(page, "Watched").locator(".badge")).to_have_text("complete")


async def test_browser_without_shared_workers_says_so_and_is_live(page: Page, stage: Stage) -> None:
    await page.add_init_script("delete globalThis.SharedWorker")
    await stage.sign_in(page)
    await expect(page.locator(".live")).to_have_text("Live, this tab")
    await stage.api.accepted(subject="Comes")
    await expect(row(page, "Comes")).to_be_visible()


async def test_api_that_hangs_is_said_and_a_view_opened_meanwhile_has_a_way_out(
    page: Page, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "ALIVE", 0.4)
    monkeypatch.setattr(stream, "_CHECK_INTERVAL", 0.1)
    await page.clock.install()
    async with proxy_to(stage.api.url) as proxy:
        await stage.open(page, "/page/emails", url=proxy.url)
        await stage.enter(page)
        await expect(page.locator(".live")).to_have_text("Live")
        proxy.swallow_answers()
        await expect(page.locator(".live")).to_contain_text("No answer for")
        await page.get_by_role("link", name="Clients").click()
        await expect(page.get_by_role("heading", name="Clients")).to_be_visible()
        await page.clock.fast_forward(LIMIT)
        await expect(page.get_by_role("alert")).to_contain_text("The API does not answer")
        proxy.mend()
        await page.get_by_role("button", name="Try again").click()
        await expect(page.get_by_role("row", name="you")).to_be_visible()
        await page.get_by_role("link", name="E-mails").click()
        await expect(page.locator(".live")).to_have_text("Live")
