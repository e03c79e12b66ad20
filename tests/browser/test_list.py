"""The list of e-mails: live, filtered, long, and what is done to several at once."""

from __future__ import annotations

import asyncio
import csv
import json
import re
from datetime import timedelta

from babygun.runtime.clock import utc_now
from tests.browser.stage import ALL, PATIENCE, Page, Route, Stage, expect, many, row, until


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
    await page.clock.set_fixed_time(utc_now())  # the pointer has moved this moment, all along
    await stage.rig.ended(await stage.api.accepted(subject="Stays"))
    await stage.sign_in(page)
    # The bar above is whole: else it could grow, and move the row away from the pointer.
    await expect(page.get_by_role("button", name="all 1", exact=True)).to_be_visible()
    await expect(page.get_by_label("Client", exact=True)).to_be_visible()
    await page.get_by_text("Live", exact=True).wait_for()
    await row(page, "Stays").hover()
    before = await row(page, "Stays").bounding_box()
    await stage.api.accepted(subject="Comes")
    await expect(page.get_by_role("button", name="1 new")).to_be_visible()
    assert await row(page, "Stays").bounding_box() == before
    await page.get_by_role("button", name="1 new").click()
    await expect(page.locator(".rows li").first).to_contain_text("Comes")


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
    await page.get_by_role("button", name=ALL).click()
    await expect(row(page, "Good")).to_be_visible()
    await page.go_back()
    await expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
    await expect(page.get_by_role("button", name="failed")).to_have_attribute(
        "aria-pressed", "true"
    )
    await page.go_forward()
    await expect(row(page, "Good")).to_be_visible()
    await page.get_by_label("Accepted", exact=True).select_option("hour")
    await page.go_back()
    await expect(page.get_by_label("Accepted", exact=True)).to_have_value("")
    address = page.url
    assert address.endswith("/page/emails?recipient=%40example.org&tag=order")
    await page.goto(address)
    await expect(row(page, "Good")).to_be_visible()
    await expect(page.get_by_role("searchbox")).to_have_value("@example.org tag:order")
    await expect(page.locator(".rows li")).to_have_count(1)
    await page.goto(f"{address}&after=garbage")
    await expect(row(page, "Good")).to_be_visible()


async def test_statuses_and_reasons_have_numbers_and_a_reason_is_a_filter(
    page: Page, stage: Stage
) -> None:
    for number in range(2):
        await stage.api.accepted(subject=f"Dead {number}", to=f"hard-{number}@example.org")
    full = await stage.api.accepted(subject="Full", to="harddata-a@example.org", tags=["order"])
    await stage.rig.ended(full, await stage.api.accepted(subject="Good"))
    await stage.sign_in(page)
    statuses = page.get_by_role("group", name="Status")
    await expect(statuses).to_contain_text(re.compile("all 4.*complete 1.*failed 3"))
    await statuses.get_by_role("button", name="failed 3").click()
    reasons = page.get_by_role("group", name="Reason")
    await reasons.get_by_role("button", name="bad mailbox 2").click()
    await expect(page.locator(".rows li")).to_have_count(2)
    assert page.url.endswith("?status=failed&reason=bad_mailbox")
    await expect(row(page, "Dead 0")).to_contain_text("550 5.1.1")
    await reasons.get_by_role("button", name="bad mailbox 2").click()
    await expect(page.locator(".rows li")).to_have_count(3)
    await page.keyboard.press("/")
    await page.keyboard.type("tag:order")
    await page.keyboard.press("Enter")
    await expect(statuses.get_by_role("button", name="failed 1")).to_be_visible()


async def test_emails_are_found_by_when_they_were_accepted_and_by_when_they_ended(
    page: Page, stage: Stage
) -> None:
    ended = await stage.api.accepted(subject="Ended")
    await stage.rig.ended(ended)
    await many(stage, 1)
    await stage.sign_in(page)
    await page.get_by_label("Accepted", exact=True).select_option("hour")
    await expect(page.locator(".rows li")).to_have_count(2)
    await page.get_by_label("Ended", exact=True).select_option("hour")
    await expect(page.locator(".rows li")).to_have_count(1)
    await expect(row(page, "Ended")).to_be_visible()
    assert page.url.endswith("?span=hour&ended=hour")
    await stage.api.accepted(subject="Comes")
    await expect(row(page, "Comes")).to_be_visible()
    await page.reload()
    await expect(page.get_by_label("Ended", exact=True)).to_have_value("hour")


async def test_box_above_the_list_chooses_all_that_match(page: Page, stage: Stage) -> None:
    await many(stage, 150)
    await stage.sign_in(page, "/page/emails?status=waiting")
    whole = page.get_by_role("checkbox", name="Choose all that match")
    await row(page, "Digest 149").get_by_role("checkbox").check()
    assert await whole.evaluate("(box) => box.indeterminate")
    await whole.click()
    await expect(page.get_by_text("chosen")).to_have_count(0)
    await whole.check()
    await expect(page.get_by_text("150 chosen")).to_be_visible()
    await expect(whole).to_be_checked()
    await row(page, "Digest 149").get_by_role("checkbox").uncheck()
    await expect(page.get_by_text("149 chosen")).to_be_visible()
    assert await whole.evaluate("(box) => box.indeterminate")


async def test_clients_are_named_and_one_of_them_is_a_filter(page: Page, stage: Stage) -> None:
    made = {}
    for name in ("web shop", "newsletter"):
        body = {"name": name, "scopes": ["emails:send"]}
        made[name] = (await stage.api.call("POST", "/clients", json=body)).json
        token = await stage.api.call(
            "POST",
            "/tokens",
            token="",
            json={
                "client_id": made[name]["id"],
                "client_secret": made[name]["client_secret"],
            },
        )
        await stage.api.accepted(token.json["token"], subject=f"Of the {name}")
    await stage.sign_in(page)
    await page.get_by_label("Client", exact=True).select_option("web shop")
    await expect(page.locator(".rows li")).to_have_count(1)
    assert page.url.endswith(f"?client={made['web shop']['id']}")
    await row(page, "Of the web shop").get_by_role("link").click()
    await expect(page.locator(".facts")).to_contain_text("by web shop")
    await expect(page.locator(".log")).to_contain_text("client web shop")


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
    async with asyncio.timeout(PATIENCE):
        while not await row(page, "Digest 0").count():
            await page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
            await asyncio.sleep(0.05)
    await expect(row(page, "Digest 0")).to_be_visible()
    await expect(page.get_by_text("That is all.")).to_be_visible()
    await expect(page.locator(".listhead")).to_contain_text("1,000 e-mails")
    assert await page.locator(".rows li").count() < 100
    place = await page.evaluate("scrollY")
    await row(page, "Digest 3").locator("a").click()
    await expect(page.get_by_role("heading", name="Digest 3")).to_be_visible()
    await page.go_back()
    await expect(row(page, "Digest 0")).to_be_visible()
    await until(page, f"Math.abs(scrollY - {place}) < 100", True)


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
    await expect(page.get_by_text("250 e-mails cancelled.")).to_be_visible(timeout=60_000)
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
    question = page.get_by_role("dialog")
    await expect(question).to_contain_text("1 e-mail: 550 5.1.1")
    await question.get_by_role("button", name="Try again").click()
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
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator(".note")).to_contain_text("1 e-mail tried again.")
    await expect(row(page, "Bad").locator(".badge")).to_have_text("failed")
    events = [entry.event for entry in await stage.rig.log(bad)]
    assert events.count("bounced") == 2


async def test_what_matches_is_saved_as_csv_and_ndjson(page: Page, stage: Stage) -> None:
    await many(stage, 120)
    await stage.rig.ended(await stage.api.accepted(subject='=1+1, "x"', tags=["a", "b"]))
    await stage.sign_in(page)
    await page.get_by_role("button", name="Export…").click()
    dialog = page.get_by_role("dialog")
    async with page.expect_download() as download:
        await dialog.get_by_role("button", name="CSV", exact=True).click()
    await expect(dialog).to_contain_text("121 e-mails")
    text = (await (await download.value).path()).read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == 121
    assert (rows[0]["subject"], rows[0]["tags"]) == ('\'=1+1, "x"', "a b")
    async with page.expect_download() as download:
        await dialog.get_by_role("button", name="NDJSON").click()
    lines = (await (await download.value).path()).read_text().splitlines()
    assert [json.loads(line)["subject"] for line in lines][:2] == ['=1+1, "x"', "Digest 119"]
