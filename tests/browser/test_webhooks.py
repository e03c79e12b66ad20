"""The views of webhooks: make one, see what was sent, send it again, switch it off."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from aiohttp import web

from babygun.runtime.settings import Settings
from tests.browser.stage import Page, Stage, expect, stage_for
from tests.support.webhook_server import Request, ok, webhook_server

URL = "https://shop.example.com/mail-events"


async def test_webhook_is_made_with_a_secret_shown_once_and_changed_by_the_page(
    page: Page, stage: Stage
) -> None:
    await stage.sign_in(page, "/page/webhooks")
    await expect(page.get_by_role("heading", name="No webhooks")).to_be_visible()
    await page.keyboard.press("+")
    await page.keyboard.type("http://127.0.0.1/events")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog").get_by_role("alert")).not_to_be_empty()
    await page.get_by_label("URL").fill(URL)
    await page.get_by_label("bounced").check()
    await page.get_by_role("button", name="Create").click()
    made = page.get_by_role("region", name="The webhook's secret")
    await expect(made).to_be_focused()
    secret = await made.locator("dd code").inner_text()
    assert secret.startswith("whsec_")
    [webhook] = (await stage.api.call("GET", "/webhooks")).json["webhooks"] or [None]
    assert (webhook["url"], webhook["events"]) == (URL, ["bounced"])
    await made.get_by_role("button", name="I have it").click()
    await expect(page.get_by_text(secret)).to_have_count(0)
    await page.get_by_role("link", name=URL).click()
    await expect(page.get_by_role("heading", name=URL)).to_be_visible()
    await page.get_by_role("button", name="Change…").click()
    await expect(page.get_by_label("bounced")).to_be_checked()
    await page.get_by_label("Tags").fill("order, invoice")
    await page.get_by_role("button", name="Change", exact=True).click()
    await expect(page.locator(".facts")).to_contain_text("invoice")
    await page.get_by_role("button", name="New secret…").click()
    await page.get_by_role("button", name="Make it").click()
    new = page.get_by_role("region", name="The webhook's secret")
    assert await new.locator("dd code").inner_text() != secret
    await page.get_by_role("button", name="Disable").click()
    await expect(page.locator(".standing")).to_contain_text("disabled")
    await page.get_by_role("button", name="Enable").click()
    await expect(page.locator(".standing")).to_contain_text("nothing sent yet")
    await page.get_by_role("button", name="Delete…").click()
    await page.get_by_role("button", name="Delete", exact=True).click()
    await expect(page.get_by_role("heading", name="No webhooks")).to_be_visible()


async def overloaded(request: Request) -> web.Response:
    return web.Response(status=503, text="<b>later</b>")


async def test_event_that_failed_says_why_and_arrives_when_it_is_sent_again(
    page: Page, settings: Settings
) -> None:
    own: dict[str, Any] = {
        "webhook_allow_http": True,
        "webhook_allow_networks": (ip_network("127.0.0.0/8"),),
    }
    async with (
        webhook_server() as receiver,
        stage_for(settings, worker=False, webhook_retry_intervals=(0.1,), **own) as stage,
        stage.rig.worker_process(),
    ):
        receiver.answer = overloaded
        made = await stage.api.call("POST", "/webhooks", json={"url": receiver.url})
        receiver.secret = made.json["secret"]
        await stage.sign_in(page, f"/page/webhooks/{made.json['id']}")
        await page.get_by_role("button", name="Test").click()
        event = page.locator(".deliveries tbody tr")
        await expect(event.locator(".badge")).to_have_text("failed")
        await expect(event).to_contain_text("503 <b>later</b>")
        await expect(page.locator(".standing")).to_contain_text("failing")
        receiver.answer = ok
        await event.get_by_role("button", name="Retry").click()
        await expect(event.locator(".badge")).to_have_text("sent")
        await expect(page.locator(".standing .badge")).to_have_text("ok")
        assert len(set(receiver.ids)) == 1
