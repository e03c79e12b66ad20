"""The view of suppressions: find, add, take off, import and export."""

from __future__ import annotations

import asyncio

from tests.browser.stage import Page, Route, Stage, expect

ROWS = 4500  # more than two calls take


async def test_address_is_added_found_and_taken_off_after_a_question(
    page: Page, stage: Stage
) -> None:
    await stage.sign_in(page, "/page/suppressions", await stage.client("suppressions"))
    await expect(page.get_by_role("heading", name="No address is suppressed")).to_be_visible()
    for address, reason in (("ann@example.org", "manual"), ("bob@example.org", "complaint")):
        await page.keyboard.press("+")
        await page.get_by_role("textbox", name="Address").fill(address)
        await page.get_by_role("dialog").get_by_label("Reason").select_option(reason)
        await page.get_by_role("button", name="Add", exact=True).click()
        await expect(page.get_by_role("row", name=address)).to_be_visible()
    await page.get_by_label("Reason").select_option("complaint")
    await expect(page.get_by_role("row", name="ann@example.org")).to_have_count(0)
    await page.keyboard.press("/")
    await page.keyboard.type("ann@")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
    assert page.url.endswith("/page/suppressions?prefix=ann%40&reason=complaint")
    await page.get_by_role("link", name="Show all").click()
    await expect(page.get_by_label("Reason")).to_have_value("")
    await page.get_by_role("button", name="Take off ann@example.org").click()
    await page.get_by_role("button", name="Leave it").click()
    await expect(page.get_by_role("row", name="ann@example.org")).to_be_visible()
    await page.get_by_role("button", name="Take off ann@example.org").click()
    await page.get_by_role("button", name="Take it off").click()
    await expect(page.get_by_role("row", name="ann@example.org")).to_have_count(0)
    await expect(page.get_by_role("row", name="bob@example.org")).to_be_visible()


async def test_late_failure_of_an_earlier_filter_and_a_page_that_is_read_twice_are_not_shown(
    page: Page, stage: Stage
) -> None:
    file = "\n".join(f"user-{n}@example.org" for n in range(101)).encode()
    imported = await stage.api.call(
        "POST", "/suppressions/import", data=file, content_type="text/csv"
    )
    assert imported.status == 200, imported.text
    chosen, asked = asyncio.Event(), asyncio.Queue[Route]()

    async def fail_late(route: Route) -> None:
        await chosen.wait()
        await route.abort()

    await page.route("**/suppressions?reason=complaint&*", fail_late)
    await page.route("**/suppressions?*cursor=*", asked.put)
    await stage.sign_in(page, "/page/suppressions")
    async with page.expect_event("requestfailed", lambda one: "=complaint" in one.url):
        await page.get_by_label("Reason").select_option("complaint")
        await page.get_by_label("Reason").select_option("manual")
        await expect(page.get_by_text("100 addresses so far")).to_be_visible()
        chosen.set()
    await page.get_by_role("button", name="Show more").dblclick()
    for route in (await asked.get(), await asked.get()):
        async with page.expect_event("requestfinished", lambda one: "cursor=" in one.url):
            await route.continue_()
    await expect(page.get_by_text("101 addresses", exact=True)).to_be_visible()
    await expect(page.get_by_role("alert")).to_have_count(0)


async def test_file_is_imported_in_parts_with_its_own_line_numbers_and_exported_again(
    page: Page, stage: Stage
) -> None:
    await stage.sign_in(page, "/page/suppressions", await stage.client("suppressions"))
    lines = ["email,reason", *(f"user-{n}@example.org,unsubscribe" for n in range(ROWS))]
    lines[4200] = "nobody,manual"
    await page.get_by_label("File to import").set_input_files(
        {"name": "old.csv", "mimeType": "text/csv", "buffer": "\n".join(lines).encode()}
    )
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("status")).to_have_text(
        "4,500 rows: 4,499 added, 0 there already, 1 refused.", timeout=90_000
    )
    await expect(dialog.get_by_role("listitem")).to_contain_text("Line 4,201:")
    await dialog.get_by_role("button", name="Close").click()
    await expect(page.get_by_text("100 addresses so far")).to_be_visible()
    await page.get_by_role("button", name="Show more").click()
    await expect(page.get_by_text("200 addresses so far")).to_be_visible()
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Export").click()
    text = (await (await download.value).path()).read_text()
    assert len(text.splitlines()) == ROWS


async def test_recipient_that_is_suppressed_says_so_and_leads_to_the_reason(
    page: Page, stage: Stage
) -> None:
    await stage.api.call("POST", "/suppressions", json={"email": "ann@example.org"})
    email_id = await stage.api.accepted(to=["ann@example.org", "bob@example.org"])
    await stage.rig.ended(email_id)
    await stage.sign_in(page, f"/page/emails/{email_id}")
    await expect(page.locator(".standing")).to_contain_text("1 of 2 recipients have got it")
    ann = page.locator(".recipients tbody tr", has_text="ann@example.org")
    await expect(ann.locator(".badge")).to_have_text("suppressed")
    await ann.get_by_role("link", name="Why").click()
    await expect(page.get_by_role("row", name="ann@example.org")).to_contain_text("by hand")
