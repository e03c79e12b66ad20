"""The other views, and the keys that all share."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from babygun.runtime.clock import utc_now
from tests.browser.stage import Page, Route, Stage, expect, row, type_at_once, until
from tests.support.development import answered

READ_AGAIN = 6_000  # ms; the schedule reads again in less


async def test_page_is_small(page: Page, stage: Stage) -> None:
    await stage.open(page, "/page/emails")
    size = await page.evaluate(
        "performance.getEntries()"
        ".filter((entry) => entry.transferSize)"
        ".reduce((sum, entry) => sum + entry.transferSize, 0)"
    )
    assert 0 < size < 75_000  # bytes, with all headers


async def test_keyboard_alone_signs_in_finds_opens_and_sends(page: Page, stage: Stage) -> None:
    await stage.rig.ended(
        await stage.api.accepted(subject="Older"), await stage.api.accepted(subject="Newer")
    )
    await stage.open(page, "/page/emails")
    await expect(page.get_by_label("Client id")).to_be_focused()
    await page.keyboard.type(stage.client_id)
    await page.keyboard.press("Tab")
    await page.keyboard.type(stage.secret)
    await page.keyboard.press("Enter")
    await expect(page.locator(".rows li")).to_have_count(2)
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Older")).to_be_visible()
    await until(page, "document.activeElement.nodeName", "MAIN")
    await page.keyboard.press("k")
    await expect(page.get_by_role("heading", name="Newer")).to_be_visible()
    await page.keyboard.press("u")
    await expect(page.locator(".rows li", has_text="Newer").get_by_role("link")).to_be_focused()
    await page.keyboard.press("j")
    await expect(page.locator(".rows li", has_text="Older").get_by_role("link")).to_be_focused()
    await page.keyboard.press("x")
    await expect(page.get_by_text("1 chosen")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_text("1 chosen")).to_have_count(0)
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog")).to_contain_text("next e-mail")
    await page.keyboard.press("Escape")
    await type_at_once(page, "gw")
    await expect(page.get_by_role("heading", name="Workers")).to_be_visible()
    await page.keyboard.press("n")
    await expect(page.get_by_label("To several")).to_be_focused()
    await page.keyboard.type("ann@example.org")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Hello from Babygun")).to_be_visible()
    await expect(page.locator(".standing .badge")).to_have_text("complete")


async def test_keys_can_be_switched_off(page: Page, stage: Stage) -> None:
    await stage.sign_in(page)
    await page.keyboard.press("?")
    await page.get_by_label("Keys are on").uncheck()
    await page.keyboard.press("Escape")
    await page.keyboard.press("n")
    await page.reload()
    await expect(page.get_by_role("heading", name="E-mails", exact=True)).to_be_visible()
    await page.keyboard.press("n")
    await expect(page.get_by_role("heading", name="E-mails", exact=True)).to_be_visible()


async def test_compose_names_the_fields_that_are_wrong_and_sends_what_curl_shows(
    page: Page, stage: Stage, tmp_path: Path
) -> None:
    await stage.sign_in(page, "/page/compose")
    await page.get_by_label("To several").fill("nobody")
    await page.get_by_text("HTML, attachments").click()
    await page.get_by_label("Headers").fill("Bcc: x@example.org")
    await page.get_by_role("button", name="Send", exact=True).click()
    await expect(page.get_by_label("To several")).to_be_focused()
    await expect(page.locator("[data-field=headers]")).to_contain_text("Bcc can't be set here")
    await page.get_by_label("To several").fill("Doe, Ann <ann@example.org>; bob@example.org")
    await page.get_by_label("Headers").fill("X-Quote: it's $HOME `id`")
    await page.locator("input[type=file]").set_input_files(
        {"name": "it's.txt", "mimeType": "text/plain", "buffer": b"hello"}
    )
    await expect(page.get_by_label("curl command")).to_contain_text("base64 -w0")  # of the file
    command = await page.get_by_label("curl command").inner_text()
    await page.get_by_role("button", name="Send", exact=True).click()
    await expect(page.locator(".standing .badge")).to_have_text("complete")
    (tmp_path / "it's.txt").write_bytes(b"hello")
    script = f"CLIENT={stage.client_id} SECRET={stage.secret}\n{command}"
    process = await run(script, tmp_path)
    first, second = await stage.rig.ended(page.url.rpartition("/")[2], json.loads(process)["id"])
    for email in (first, second):
        assert [r.email for r in email.recipients] == ["ann@example.org", "bob@example.org"]
    documents = [
        (await stage.api.call("GET", f"/emails/{email.id}")).json for email in (first, second)
    ]
    for name in ("sender", "subject", "body", "headers", "attachments", "size"):
        assert documents[0][name] == documents[1][name]
    assert documents[0]["headers"] == ["X-Quote: it's $HOME `id`"]


async def test_compose_sends_a_calendar_with_the_type_that_was_typed_as_an_invitation(
    page: Page, stage: Stage
) -> None:
    await stage.sign_in(page, "/page/compose")
    await page.get_by_label("To several").fill("ann@example.org")
    await page.get_by_text("HTML, attachments").click()
    calendar = b"BEGIN:VCALENDAR\r\nMETHOD:CANCEL\r\nEND:VCALENDAR\r\n"
    await page.locator("input[type=file]").set_input_files(
        [
            {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"hello"},
            {"name": "invite.ics", "mimeType": "text/calendar", "buffer": calendar},
        ]
    )
    kind = page.get_by_label("Type of invite.ics")
    await kind.fill("text/calendar; method=REQUEST")
    await expect(page.get_by_label("curl command")).to_contain_text("method=REQUEST")
    await page.get_by_role("button", name="Send", exact=True).click()
    wrong = page.locator("[data-field=attachments] .wrong")
    await expect(wrong).to_contain_text("invite.ics: The type says method=REQUEST")
    await kind.fill("text/calendar; method=CANCEL")
    await page.get_by_role("button", name="Send", exact=True).click()
    await page.get_by_role("tab", name="Attachments (2)").click()
    panel = page.get_by_role("tabpanel")
    await expect(panel).to_contain_text("text/calendar; method=CANCEL, 47 B, also sent as an")
    await page.get_by_role("tab", name="Source").click()
    await expect(panel).to_contain_text("text/calendar; method=CANCEL; charset=utf-8")


async def run(script: str, folder: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", script, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err
    return out.decode()


async def test_client_is_made_changed_and_deleted_its_secrets_are_shown_once_and_work(
    page: Page, stage: Stage
) -> None:
    await stage.sign_in(page, "/page/clients")
    await page.get_by_role("button", name="New client").click()
    await page.get_by_label("Name").fill("web shop")
    await page.get_by_role("dialog").get_by_role("button", name="Create").click()
    made = page.get_by_role("region", name="The new client's secret")
    await expect(made).to_be_focused()
    client_id, secret = await made.locator("dd code").all_inner_texts()
    answer = await stage.api.call(
        "POST", "/tokens", token="", json={"client_id": client_id, "client_secret": secret}
    )
    assert answer.json["scopes"] == ["emails:send", "emails:read", "webhooks", "suppressions"]
    await made.get_by_role("button", name="I have it").click()
    await expect(page.get_by_text(secret)).to_have_count(0)
    await page.get_by_role("button", name="Change web shop").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Change", exact=True).click()
    await expect(dialog.get_by_role("alert")).to_have_text("Nothing is changed yet.")
    await dialog.get_by_label("Recipients a day").fill("5000")
    await dialog.get_by_label("domains").check()
    await dialog.get_by_role("button", name="Change", exact=True).click()
    shop = page.get_by_role("row", name="web shop")
    await expect(shop).to_contain_text("0 of 5,000")
    await expect(shop).to_contain_text("domains")
    await page.get_by_role("button", name="New secret web shop").click()
    await dialog.get_by_label("The present secret works").select_option("for an hour")
    await dialog.get_by_role("button", name="Make it").click()
    made = page.get_by_role("region", name="The new secret")
    await expect(made).to_be_focused()
    _, newer = await made.locator("dd code").all_inner_texts()
    await expect(made).to_contain_text("The one before works until")
    await expect(shop).to_contain_text("secret before: until")
    for text in (secret, newer):
        body = {"client_id": client_id, "client_secret": text}
        assert (await stage.api.call("POST", "/tokens", token="", json=body)).status == 200
    await page.get_by_role("button", name="Delete web shop").click()
    await page.get_by_role("button", name="Delete", exact=True).click()
    await expect(page.get_by_role("row", name="web shop")).to_have_count(0)
    asked = partial(stage.api.call, "GET", "/emails", token=answer.json["token"])
    await answered(asked, lambda found: found.status == 401)  # the API follows etcd
    own = page.get_by_role("row", name="you")
    await expect(own.get_by_role("button", name="Delete")).to_have_count(0)
    await audited(page, client_id)


async def audited(page: Page, client_id: str) -> None:
    """What was done to a client stands in the audit."""
    await type_at_once(page, "ga")
    entries = page.locator(".audit tbody tr")
    await page.get_by_label("An id, a domain").fill(client_id)
    await page.keyboard.press("Enter")
    await expect(entries).to_have_count(4)
    await expect(entries.first).to_contain_text("delete client")
    await expect(entries.first).to_contain_text(client_id)
    await page.get_by_label("A call: holdSite").fill("rotateClientSecret")
    await page.keyboard.press("Enter")
    await expect(entries).to_have_count(1)
    assert page.url.endswith(f"/page/audit?target={client_id}&action=rotateClientSecret")
    await expect(entries).to_contain_text("done")
    await page.get_by_label("Outcome").select_option("failed")
    await expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
    await page.get_by_role("link", name="Show all").click()
    await expect(entries.first).to_be_visible()


async def test_schedule_shows_what_waits_and_forgets_it_when_it_does_not(
    page: Page, stage: Stage
) -> None:
    await page.clock.install()
    await stage.sign_in(page, "/page/schedule")
    await expect(page.get_by_role("heading", name="Nothing waits")).to_be_visible()
    email_id = await stage.api.accepted(to="soft-ann@example.org")
    await stage.rig.logged(email_id, "deferred")
    await page.clock.run_for(READ_AGAIN)
    await expect(page.locator(".rows li")).to_contain_text("soft-ann@example.org")
    await expect(page.locator(".rows li time")).to_contain_text(re.compile(r"[5-9]:\d\d"))
    await stage.api.call("POST", f"/emails/{email_id}/cancel")
    await page.clock.run_for(READ_AGAIN)
    await expect(page.get_by_role("heading", name="Nothing waits")).to_be_visible()


async def test_schedule_says_who_what_and_why_and_changes_tries_now_or_cancels(
    page: Page, stage: Stage
) -> None:
    hour = (utc_now() + timedelta(hours=1)).isoformat()
    later = await stage.api.accepted(subject="For later", to="bob@example.org", send_at=hour)
    again = await stage.api.accepted(subject="Once more", to="soft-ann@example.org")
    await stage.rig.logged(again, "deferred")
    await stage.sign_in(page, "/page/schedule")
    for text in ("soft-ann@example.org", "main", "451 4.3.0", "try 2"):
        await expect(row(page, "Once more")).to_contain_text(text)
    await expect(row(page, "For later")).to_contain_text("for later, as it was asked for")
    await page.get_by_role("button", name="Change…: Once more").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_label("Send at")).to_have_count(0)  # a try has begun
    await dialog.get_by_role("button", name="Close").click()
    await page.get_by_role("button", name="Change…: For later").click()
    day = (utc_now() + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M")
    await dialog.get_by_label("Send at").fill(day)
    await dialog.get_by_label("Tags").fill("later, still")
    await dialog.get_by_role("button", name="Change", exact=True).click()
    await expect(row(page, "For later")).to_contain_text(re.compile(r"in (1 d 23 h|2 d)"))
    changed = await stage.rig.get(later)
    assert changed.tags == ("later", "still")
    stage.smtp.rcpt["soft-ann@example.org"] = ""
    await page.get_by_role("button", name="Try now: Once more").click()
    await expect(row(page, "Once more")).to_have_count(0)
    [delivered] = await stage.rig.ended(again)
    assert delivered.status == "complete"
    await page.get_by_role("button", name="Cancel…: For later").click()
    await page.get_by_role("button", name="Cancel it").click()
    await expect(page.get_by_role("heading", name="Nothing waits")).to_be_visible()


async def test_overview_says_how_deliveries_go_and_which_server_does_not_answer(
    page: Page, stage: Stage
) -> None:
    bad = await stage.api.accepted(to="hard-ann@example.org")
    await stage.rig.ended(await stage.api.accepted(), bad)
    lost = await stage.api.accepted(to="drop-data@example.org")
    await stage.rig.logged(lost, "deferred")
    await stage.sign_in(page, "/page/overview")
    said = page.locator("section", has=page.get_by_role("heading", name="Deliveries"))
    await expect(said).to_contain_text("3 e-mails accepted in the last hour")
    await expect(said).to_contain_text(re.compile(r"half within [\d.]+ (ms|s), 95 % within"))
    await expect(said.get_by_role("row", name="main")).to_contain_text("33 %")
    await expect(said).to_contain_text(re.compile("main does not answer: .* Nothing was delivered"))
    await said.get_by_role("button", name="the last 24 hours").click()
    await expect(said).to_contain_text("3 e-mails accepted in the last 24 hours")
    await said.get_by_role("link", name="bad mailbox (bounced)").click()
    await expect(page.locator(".rows li")).to_have_count(1)


async def test_overview_counts_what_happens_and_shows_who_does_it(page: Page, stage: Stage) -> None:
    await stage.sign_in(page, "/page/overview")
    await expect(page.get_by_role("heading", name="1 worker")).to_be_visible()
    await stage.api.accepted(to="hang-ann@example.org")
    in_flight = page.locator(".figure", has_text="In flight").locator(".value")
    await expect(in_flight).to_have_text("1")
    stage.smtp.release()
    await expect(in_flight).to_have_text("0")
    await expect(page.locator("section", has_text="etcd")).to_contain_text("healthy")
    await expect(page.locator(".series")).to_have_count(4)


async def test_chart_keeps_what_was_seen_when_an_api_process_starts_again(
    page: Page, stage: Stage
) -> None:
    started_again = False

    async def answer(route: Route) -> None:
        found = await route.fetch()
        overview = await found.json()
        step, start = overview["history"]["step"], "2026-11-25T09:00:00Z"
        ago = 0 if started_again else 100
        for name in ("accepted", "delivered", "deferred", "failed"):
            overview["history"][name] = [0.0] * (1 if started_again else 100)
        overview["history"]["start"] = shifted(start, (100 - ago) * step)
        overview["history"]["accepted"][0] = 7.0
        await route.fulfill(response=found, json=overview)

    await page.clock.install(time="2026-11-25T09:08:21Z")
    await page.route(re.compile(r"//[^/]+/overview$"), answer)
    await page.route("**/events*", lambda route: route.abort())
    await stage.sign_in(page, "/page/overview")
    line = page.locator(".series").first
    await expect(line).to_have_attribute("d", re.compile("M"))
    before = await line.get_attribute("d")
    assert before is not None
    started_again = True
    await page.clock.fast_forward(61_000)
    await expect(page.get_by_text("knows the rates since")).to_be_visible()
    after = await line.get_attribute("d")
    assert after is not None and after.count("L") >= before.count("L")


def shifted(start: str, seconds: float) -> str:
    return (datetime.fromisoformat(start) + timedelta(seconds=seconds)).isoformat()
