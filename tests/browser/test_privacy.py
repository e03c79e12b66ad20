"""What is kept of a person: counted, exported and erased by somebody with the scope admin."""

from __future__ import annotations

import json

from tests.browser.stage import Page, Stage, expect


async def test_person_is_looked_up_exported_and_erased_after_a_question_that_wants_the_address(
    page: Page, stage: Stage
) -> None:
    alone = await stage.api.accepted(to="ann@example.org")
    shared = await stage.api.accepted(to=["Ann@example.org", "bob@example.org"], subject="Both")
    await stage.rig.ended(alone, shared)
    await stage.sign_in(page, "/page/privacy")
    await page.get_by_label("Address").fill("ann@example.org")
    await page.keyboard.press("Enter")
    report = page.locator("main section")
    await expect(report).to_contain_text("This is kept:")
    await expect(report.locator("dd").nth(0)).to_have_text("1")
    await expect(report.locator("dd").nth(1)).to_have_text("1")
    async with page.expect_download() as download:
        await report.get_by_role("link", name="Export").click()
    lines = (await (await download.value).path()).read_text().splitlines()
    assert json.loads(lines[-1])["kind"] == "end"

    await report.get_by_role("button", name="Erase…").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("The address again").fill("bob@example.org")
    await dialog.get_by_role("button", name="Erase", exact=True).click()
    await expect(dialog.get_by_role("alert")).to_have_text("That is another address.")
    await dialog.get_by_label("The address again").fill("Ann@example.org")
    await dialog.get_by_role("button", name="Erase", exact=True).click()
    await expect(report).to_contain_text("All of it is erased.")
    assert page.url.endswith("/page/privacy")
    await page.get_by_role("button", name="Look up").click()
    await expect(report).to_contain_text("Nothing is kept.")

    await stage.open(page, f"/page/emails/{shared}")
    recipients = page.locator(".recipients tbody")
    await expect(recipients).to_contain_text("bob@example.org")
    await expect(recipients).to_contain_text("erased")
    await expect(page.locator("main")).not_to_contain_text("ann@example.org")
    await stage.open(page, f"/page/emails/{alone}")
    await expect(page.get_by_role("heading", name="There is no such e-mail")).to_be_visible()
