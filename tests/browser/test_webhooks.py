"""The views of webhooks: make one, see what was sent, send it again, switch it off."""

from __future__ import annotations

from tests.browser.stage import Page, Stage, expect

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
