"""An e-mail watched from its acceptance to its end, without a reload."""

from __future__ import annotations

import re
from datetime import timedelta

from babygun.email.bounces import Bounce, Complaint
from babygun.email.return_path import of_recipient
from babygun.runtime.clock import utc_now
from babygun.store.emails.late import complaint, late_bounce
from tests.browser.stage import Page, Stage, expect

# A picture of one pixel.
DOT = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


async def test_email_sent_from_the_page_turns_from_sending_to_complete_without_a_reload(
    page: Page, stage: Stage
) -> None:
    await stage.sign_in(page, "/page/compose")
    await page.evaluate("window.same = true")
    await page.get_by_label("To", exact=False).first.fill(
        "hang-ann@example.org, Bob <bob@example.org>"
    )
    await page.get_by_label("Subject").fill("Watched")
    await page.get_by_role("button", name="Send", exact=True).click()
    await expect(page.get_by_role("heading", name="Watched")).to_be_visible()
    await expect(page.locator(".standing .badge")).to_have_text("sending")
    await expect(page).to_have_title("Watched · Babygun")
    stage.smtp.release()
    await expect(page.locator(".standing .badge")).to_have_text("complete")
    await expect(page.locator(".standing")).to_contain_text(
        "All 2 recipients have got it, after 1 try"
    )
    await expect(page.locator(".log .badge")).to_have_text(["accepted", "claimed", "delivered"])
    assert await page.evaluate("window.same")
    assert {recipient for message in stage.smtp.messages for recipient in message.recipients} == {
        "hang-ann@example.org",
        "bob@example.org",
    }


async def test_deferral_shows_the_reply_and_counts_down_to_the_next_try(
    page: Page, stage: Stage
) -> None:
    email_id = await stage.api.accepted(to="soft-ann@example.org")
    await stage.rig.logged(email_id, "deferred")
    await stage.sign_in(page, f"/page/emails/{email_id}")
    await expect(page.locator(".standing .badge")).to_have_text("waiting")
    await expect(page.locator(".standing")).to_contain_text(re.compile(r"Try 2 in [5-9]:\d\d"))
    await expect(page.locator(".recipients")).to_contain_text("451 4.3.0")
    await expect(page.locator(".recipients")).to_contain_text("Temporary failure")
    clock = page.locator(".standing time")
    first = await clock.inner_text()
    await expect(clock).not_to_have_text(first)
    assert re.fullmatch(r"[5-9]:\d\d", await clock.inner_text())
    await expect(page.locator(".timeline .part.try.waiting")).to_have_count(1)
    await expect(page.locator(".timeline .part.plan")).to_have_count(1)


async def test_retry_of_a_failed_email_delivers_it(page: Page, stage: Stage) -> None:
    email_id = await stage.api.accepted(to="hard-ann@example.org")
    await stage.bounced(email_id, "hard-ann@example.org")
    await stage.sign_in(page, f"/page/emails/{email_id}")
    await expect(page.locator(".standing .badge")).to_have_text("failed")
    await expect(page.locator(".recipients")).to_contain_text("550 5.1.1")
    stage.smtp.rcpt["hard-ann@example.org"] = ""
    await page.get_by_role("button", name="Retry").click()
    await expect(page.get_by_role("dialog")).to_contain_text("1 recipient: 550 5.1.1")
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator(".standing .badge")).to_have_text("complete")
    await expect(page.locator(".log .badge")).to_have_text(
        ["accepted", "claimed", "bounced", "retried", "claimed", "delivered"]
    )
    await expect(page.get_by_role("button", name="Retry")).to_have_count(0)


async def test_cancel_asks_first_and_stops_a_scheduled_email(page: Page, stage: Stage) -> None:
    email_id = await stage.api.accepted(send_at=(utc_now() + timedelta(hours=1)).isoformat())
    await stage.sign_in(page, f"/page/emails/{email_id}")
    first = re.compile(r"Sent for the first time in 5\d:\d\d")
    await expect(page.locator(".standing")).to_contain_text(first)
    await page.get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Leave it").click()
    await expect(page.locator(".standing .badge")).to_have_text("waiting")
    await page.get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Cancel it").click()
    await expect(page.locator(".standing .badge")).to_have_text("cancelled")
    assert (await stage.rig.get(email_id)).status == "cancelled"
    await expect(page.locator("a:focus, button:focus")).to_have_count(1)
    accepted = page.locator(".log li").first
    await expect(accepted).to_contain_text(re.compile(r"to be sent at \w+ \w+, \d\d:\d\d"))


async def test_what_others_do_shows_within_seconds(page: Page, stage: Stage) -> None:
    email_id = await stage.api.accepted(send_at=(utc_now() + timedelta(hours=1)).isoformat())
    await stage.sign_in(page, f"/page/emails/{email_id}")
    await expect(page.locator(".standing .badge")).to_have_text("waiting")
    await stage.api.call("POST", f"/emails/{email_id}/cancel")
    await expect(page.locator(".standing .badge")).to_have_text("cancelled")


async def test_content_is_there_as_text_headers_source_and_files(page: Page, stage: Stage) -> None:
    email_id = await stage.api.accepted(
        body="Grüße <b>an alle</b>\n",
        headers={"X-Order": "4711"},
        bcc="hidden@example.org",
        attachments=[{"filename": "a <b>.txt", "content": "aGVsbG8="}],
    )
    await stage.rig.ended(email_id)
    await stage.sign_in(page, f"/page/emails/{email_id}")
    panel = page.get_by_role("tabpanel")
    await expect(panel).to_have_text("Grüße <b>an alle</b>\n")
    await page.get_by_role("tab", name="Text").press("ArrowRight")
    await expect(page.get_by_role("tab", name="Headers")).to_be_focused()
    await expect(panel).to_have_text("X-Order: 4711")
    await page.get_by_role("tab", name="Source").click()
    await expect(panel).to_contain_text("X-Order: 4711")
    await expect(panel).not_to_contain_text("hidden@example.org")
    await page.get_by_role("tab", name="Attachments (1)").click()
    async with page.expect_download() as download:
        await panel.get_by_role("link", name="a <b>.txt").click()
    assert (await (await download.value).path()).read_bytes() == b"hello"
    command = await page.get_by_label("Commands for etcd", exact=True).inner_text()
    assert f"{stage.rig.settings.prefix}emails/{email_id}" in command


async def test_html_is_shown_wide_as_on_a_phone_and_as_source_with_hints_and_pictures_are_seen(
    page: Page, stage: Stage
) -> None:
    email_id = await stage.api.accepted(
        html='<p style="display:flex"><img src="cid:dot">Hi</p>',
        attachments=[
            {"filename": "dot.gif", "content_type": "image/gif", "content": DOT},
            {"filename": "evil.svg", "content_type": "image/svg+xml", "content": "PHN2Zy8+"},
        ],
    )
    await stage.sign_in(page, f"/page/emails/{email_id}")
    await page.get_by_role("tab", name="HTML").click()
    frame = page.locator("iframe.html")
    wide = await frame.bounding_box()
    await page.get_by_role("button", name="As on a phone").click()
    narrow = await frame.bounding_box()
    assert wide and narrow and narrow["width"] == 375 < wide["width"]
    await page.get_by_role("button", name="Its source").click()
    await expect(frame).to_be_hidden()
    await expect(page.get_by_label("HTML source")).to_contain_text("display:flex")
    await page.get_by_text("2 hints for mail programs").click()
    for hint in ("flex or grid: Outlook", "pictures without alt"):
        await expect(page.locator(".hints")).to_contain_text(hint)
    await page.get_by_role("tab", name="Attachments (2)").click()
    picture = page.get_by_role("img", name="The picture dot.gif")
    await expect(picture).to_be_visible()
    assert await picture.evaluate("(one) => one.decode().then(() => one.naturalWidth)") == 1
    await expect(page.get_by_role("tabpanel").locator("img")).to_have_count(1)


async def test_bounce_message_and_complaint_that_come_later_are_shown_as_they_come(
    page: Page, stage: Stage
) -> None:
    store = stage.rig.store
    email_id = await stage.api.accepted(to=["ann@example.org", "bob@example.org"])
    [email] = await stage.rig.ended(email_id)
    await stage.sign_in(page, f"/page/emails/{email_id}")
    await expect(page.locator(".standing .badge")).to_have_text("complete")
    await expect(page.locator(".log")).to_contain_text("plain text")
    ann, bob = (of_recipient(email_id, r.email, 0, email.client_id) for r in email.recipients)
    bounce = Bounce(status_code=550, enhanced_code="5.1.1", reason="No mailbox here by that name")
    assert await late_bounce(store, ann, bounce) == "applied"
    await expect(page.locator(".standing .badge")).to_have_text("failed")
    recipient = page.get_by_role("row", name="ann@example.org")
    await expect(recipient).to_contain_text("bounced, late")
    await expect(recipient).to_contain_text("No mailbox here by that name")
    assert await complaint(store, bob, Complaint(reporter="provider.example")) == "applied"
    await expect(page.get_by_role("row", name="bob@example.org")).to_contain_text("called spam")
    await expect(page.locator(".log .badge")).to_have_text(
        ["accepted", "claimed", "delivered", "bounced, late", "complained"]
    )
    # None reaches over the text beside it.
    widths = "badges => badges.map(badge => badge.scrollWidth - badge.clientWidth)"
    assert await page.locator(".log .badge").evaluate_all(widths) == [0] * 5


async def test_edit_as_new_keeps_names_and_attachments(page: Page, stage: Stage) -> None:
    email_id = await stage.api.accepted(
        to=["Ann Lee <ann@example.org>", "bob@example.org"],
        attachments=[{"filename": "a.txt", "content_type": "text/plain", "content": "aGVsbG8="}],
    )
    await stage.rig.ended(email_id)
    await stage.sign_in(page, f"/page/emails/{email_id}")
    await page.get_by_role("link", name="Edit as new").click()
    to = page.locator("[name=to]")
    await expect(to).to_have_value("Ann Lee <ann@example.org>, bob@example.org")
    await expect(page.get_by_label("Type of a.txt")).to_have_value(re.compile("text/plain"))
    await page.get_by_role("button", name="Send", exact=True).click()
    await expect(page.locator(".standing .badge")).to_have_text("complete")
    copy = (await stage.api.call("GET", f"/emails/{page.url.rpartition('/')[2]}")).json
    assert copy["to"] == ["Ann Lee <ann@example.org>", "bob@example.org"]
    assert [file["size"] for file in copy["attachments"]] == [5]


async def test_email_that_is_not_there_says_so_and_leads_back(page: Page, stage: Stage) -> None:
    await stage.sign_in(page, "/page/emails/019ab8c2-7f41-7d3a-9c55-2b7e4f1a90c8")
    missing = page.get_by_role("heading", name="There is no such e-mail", level=1)
    await expect(missing).to_be_visible()
    await page.get_by_role("link", name="Back to the list").click()
    await expect(page.get_by_role("heading", name="No e-mails yet")).to_be_visible()


async def test_recipients_of_a_large_email_come_worst_first_have_a_filter_and_are_all_reached(
    page: Page, stage: Stage
) -> None:
    to = [f"{kind}-{n}@example.org" for n in range(40) for kind in ("good", "hard")]
    email_id = await stage.api.accepted(to=[*to, "soft-a-long-name@mail.example.org"])
    await stage.rig.logged(email_id, "deferred")
    await stage.sign_in(page, f"/page/emails/{email_id}")
    rows = page.locator(".recipients tbody tr")
    await expect(rows).to_have_count(50)
    badges = await rows.locator(".badge").all_inner_texts()
    assert badges == ["bounced"] * 40 + ["deferred"] + ["delivered"] * 9
    await page.get_by_role("button", name="Show more of 81").click()
    await expect(rows).to_have_count(81)
    await expect(page.get_by_role("button", name="Show more")).to_have_count(0)
    statuses = page.get_by_role("group", name="Status of the recipients")
    await expect(statuses).to_contain_text("40 bounced")
    await statuses.get_by_role("button", name="1 deferred").click()
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("451 4.3.0")
    # An address breaks between its parts only.
    lines = await rows.locator("th a").evaluate(LINES)
    assert set(lines) == {1}
    await statuses.get_by_role("button", name="all").click()
    await expect(rows).to_have_count(50)


# In how many lines each part of a link's text stands.
LINES = """(link) => [...link.childNodes].filter((part) => part.data).map((part) => {
    const range = document.createRange(); range.selectNode(part);
    return range.getClientRects().length })"""
