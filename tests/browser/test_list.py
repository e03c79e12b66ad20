"""The list of e-mails: live, filtered, long, and what is done to several at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from babygun.runtime.clock import utc_now
from tests.browser.stage import Page, Route, Stage, expect, many, row


async def test_email_that_arrives_stands_at_the_top_and_changes_its_status_in_place(
    page: Page, stage: Stage
) -> None:
    await stage.sign_in(page)
    await expect(page.get_by_role("heading", name="No e-mails yet")).to_be_visible()
    await stage.api.accepted(subject="First", to="hang-ann@example.org")
    await expect(row(page, "First").locator(".badge")).to_have_text("sending")
    stage.smtp.release()
    await expect(row(page, "First").locator(".badge")).to_have_text("complete")
    await stage.api.accepted(subject="Second")
    await expect(page.locator(".rows li").first).to_contain_text("Second")


async def test_email_accepted_between_the_first_reading_and_the_stream_is_shown(
    page: Page, stage: Stage
) -> None:
    accepted = asyncio.Event()

    async def hold_back(route: Route) -> None:
        await accepted.wait()
        await route.continue_()

    await page.add_init_script("delete globalThis.SharedWorker")  # its calls can't be held back
    await page.route("**/events*", hold_back)
    await stage.sign_in(page)
    await expect(page.get_by_role("heading", name="No e-mails yet")).to_be_visible()
    later = utc_now() + timedelta(hours=1)
    await stage.api.accepted(subject="Missed", send_at=later.isoformat())
    accepted.set()
    await expect(row(page, "Missed")).to_be_visible()
    await expect(page.get_by_role("button", name="1 new")).to_have_count(0)


async def test_email_that_arrives_fits_the_filter_by_each_form_of_its_mailbox(
    page: Page, stage: Stage
) -> None:
    await stage.sign_in(page, "/page/emails?recipient=Ann%40xn--bcher-kva.example")
    await expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
    await stage.api.accepted(subject="Other", to="bob@bücher.example")
    await stage.api.accepted(subject="Theirs", to="ann@BÜCHER.example")
    await expect(page.locator(".rows li")).to_have_count(1)
    await expect(row(page, "Theirs").locator(".badge")).to_have_text("complete")


async def test_row_under_the_pointer_does_not_move_when_emails_arrive(
    page: Page, stage: Stage
) -> None:
    await stage.api.accepted(subject="Stays")
    await stage.sign_in(page)
    await row(page, "Stays").hover()
    before = await row(page, "Stays").bounding_box()
    moving = asyncio.create_task(jitter(page))
    await stage.api.accepted(subject="Comes")
    await expect(page.get_by_role("button", name="1 new")).to_be_visible()
    assert await row(page, "Stays").bounding_box() == before
    moving.cancel()
    await page.get_by_role("button", name="1 new").click()
    await expect(page.locator(".rows li").first).to_contain_text("Comes")


async def jitter(page: Page) -> None:
    while True:
        for x in (700, 710):
            await page.mouse.move(x, 224)
            await asyncio.sleep(0.5)


async def test_filters_stand_in_the_address_and_the_address_brings_them_back(
    page: Page, stage: Stage
) -> None:
    await stage.rig.ended(
        await stage.api.accepted(subject="Good", to="ann@example.org", tags=["order"]),
        await stage.api.accepted(subject="Bad", to="hard-bob@example.net", tags=["order"]),
    )
    await stage.sign_in(page)
    await page.get_by_role("button", name="failed").click()
    await expect(page.locator(".rows li")).to_have_count(1)
    await expect(row(page, "Bad")).to_be_visible()
    assert page.url.endswith("/page/emails?status=failed")
    await page.keyboard.press("/")
    await page.keyboard.type("tag:order @example.org")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
    await page.get_by_role("button", name="all", exact=True).click()
    await expect(row(page, "Good")).to_be_visible()
    await page.go_back()
    await expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
    await expect(page.get_by_role("button", name="failed")).to_have_attribute(
        "aria-pressed", "true"
    )
    await page.go_forward()
    await expect(row(page, "Good")).to_be_visible()
    await page.get_by_label("Time").select_option("hour")
    await page.go_back()
    await expect(page.get_by_label("Time")).to_have_value("")
    address = page.url
    assert address.endswith("/page/emails?recipient=%40example.org&tag=order")
    await page.goto(address)
    await expect(row(page, "Good")).to_be_visible()
    await expect(page.get_by_role("searchbox")).to_have_value("@example.org tag:order")
    await expect(page.locator(".rows li")).to_have_count(1)
    await page.goto(f"{address}&after=garbage")
    await expect(row(page, "Good")).to_be_visible()


async def test_search_counts_every_term_says_what_is_too_much_and_opens_an_id(
    page: Page, stage: Stage
) -> None:
    shop = "shop@example.com"
    email_id = await stage.api.accepted(subject="Invoice of May", sender=shop, tags=["a", "b"])
    await stage.api.accepted(subject="Invoice of June", sender=shop, tags=["a"])
    await stage.sign_in(page)
    search = page.get_by_role("searchbox")
    for typed in (
        "invoice MAY",
        '"of may" @example.org',
        "tag:a tag:b",
        f"june tag:a {email_id[:20]}",
    ):
        await search.fill(typed)
        await page.keyboard.press("Enter")
        if "june" in typed:
            await expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
        else:
            await expect(page.locator(".rows li")).to_have_count(1)
            await expect(row(page, "Invoice of May")).to_be_visible()
    await search.fill("from:shop@example.com from:you@example.com")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("“from:you@example.com” is one too")
    await search.fill(email_id.upper())
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Invoice of May")).to_be_visible()


async def test_thousand_rows_scroll_to_the_end_with_few_of_them_in_the_document(
    page: Page, stage: Stage
) -> None:
    await many(stage, 1000)
    await stage.sign_in(page)
    await expect(page.locator(".rows li").first).to_contain_text("Digest 999")
    for _ in range(60):
        await page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        if await page.get_by_text("That is all.").count():
            break
        await page.wait_for_timeout(100)
    await expect(row(page, "Digest 0")).to_be_visible()
    await expect(page.locator(".listhead")).to_contain_text("1,000 e-mails")
    assert await page.locator(".rows li").count() < 100
    place = await page.evaluate("scrollY")
    await row(page, "Digest 3").locator("a").click()
    await expect(page.get_by_role("heading", name="Digest 3")).to_be_visible()
    await page.go_back()
    await expect(row(page, "Digest 0")).to_be_visible()
    assert abs(await page.evaluate("scrollY") - place) < 100


async def test_all_that_match_are_cancelled_after_a_question_that_counts_them(
    page: Page, stage: Stage
) -> None:
    ids = await many(stage, 250)
    other = await stage.api.accepted(subject="Another", to="soft-ann@example.com")
    await stage.rig.logged(other, "deferred")
    await stage.sign_in(page, "/page/emails?status=waiting&recipient=%40example.org")
    await row(page, "Digest 249").get_by_role("checkbox").check()
    await page.get_by_role("button", name="All that match").click()
    await expect(page.get_by_text("250 chosen")).to_be_visible()
    await page.get_by_role("button", name="Cancel…").click()
    await expect(page.get_by_role("dialog")).to_contain_text("Cancel 250 e-mails?")
    await expect(page.get_by_role("dialog")).to_contain_text(
        "status waiting, recipient @example.org"
    )
    await page.get_by_role("dialog").get_by_role("button", name="Cancel", exact=True).click()
    await expect(page.get_by_text("250 e-mails cancelled.")).to_be_visible(timeout=20_000)
    assert {email.status for email in await stage.rig.ended(*ids)} == {"cancelled"}
    assert (await stage.rig.get(other)).status == "incomplete"
    await expect(row(page, "Digest 249").locator(".badge")).to_have_text("cancelled")


async def test_retry_of_several_says_how_many_and_why_others_were_left(
    page: Page, stage: Stage
) -> None:
    bad = await stage.api.accepted(subject="Bad", to="hard-ann@example.org")
    await stage.rig.ended(await stage.api.accepted(subject="Good"))
    await stage.bounced(bad, "hard-ann@example.org")
    stage.smtp.rcpt["hard-ann@example.org"] = ""
    await stage.sign_in(page)
    await row(page, "Good").get_by_role("checkbox").check()
    await row(page, "Bad").get_by_role("checkbox").click(modifiers=["Shift"])
    await page.get_by_role("button", name="Retry…").click()
    await page.get_by_role("button", name="Retry", exact=True).click()
    await expect(page.locator(".note")).to_contain_text("1 e-mail tried again. 1 left as it was:")
    await expect(row(page, "Bad").locator(".badge")).to_have_text("complete")


async def test_answer_to_a_bulk_retry_does_not_hide_what_has_happened_since(
    page: Page, stage: Stage
) -> None:
    bad = await stage.api.accepted(subject="Bad", to="hard-ann@example.org")
    await stage.bounced(bad, "hard-ann@example.org")
    await stage.sign_in(page)
    await page.get_by_text("Live", exact=True).wait_for()

    async def hold_back(route: Route) -> None:
        answer = await route.fetch()
        await stage.rig.ended(bad, await stage.api.accepted(subject="Later"))
        await expect(page.get_by_role("button", name="1 new")).to_be_visible()
        await route.fulfill(response=answer)

    await page.route("**/emails/retry", hold_back)
    await row(page, "Bad").get_by_role("checkbox").check()
    await page.get_by_role("button", name="Retry…").click()
    await page.get_by_role("button", name="Retry", exact=True).click()
    await expect(page.locator(".note")).to_contain_text("1 e-mail tried again.")
    await expect(row(page, "Bad").locator(".badge")).to_have_text("failed")
    events = [entry.event for entry in await stage.rig.log(bad)]
    assert events.count("bounced") == 2
