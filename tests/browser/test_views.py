"""The other views, and what all share: keys, small screens, dark mode, accessibility."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_FILE_PATH

from babygun.runtime.clock import utc_now
from tests.browser.stage import Browser, Page, Route, Stage, expect, row

VIEWS = (
    *("overview", "emails", "compose", "schedule", "workers", "sites"),
    *("domains", "webhooks", "suppressions", "clients"),
)
# Rules, or tags of rules, of axe. The colours alone are others in the dark.
RULES: dict[Any, list[str]] = {
    "light": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"],
    "dark": ["color-contrast"],
}
DOMAIN = "domains/a-subdomain.of-another.of-a-company-with-a-long-name.example.com"
READ_AGAIN = 6_000  # ms; the schedule reads again in less


async def one_of_each(stage: Stage) -> str:
    """E-mails in every state, with long and odd texts; the id of the one with most to show."""
    domain = "a-subdomain.of-another.of-a-company-with-a-long-name.example.com"
    long = f"a-very-long-local-part-that-goes-on-and-on@{domain}"
    await stage.api.accepted(subject="Good")
    waiting = await stage.api.accepted(
        to=["soft-ann@example.org", "hard-bob@example.org", long],
        subject="word" * 60,
        tags=["order", "invoice"],
        metadata={"order": "4711"},
    )
    await stage.rig.ended(await stage.api.accepted(to="hard-ann@example.org", subject="Bad"))
    await stage.rig.logged(waiting, "deferred")
    cancelled = await stage.api.accepted(to="soft-eve@example.org", subject="Stopped")
    await stage.rig.logged(cancelled, "deferred")
    await stage.api.call("POST", f"/emails/{cancelled}/cancel")
    await stage.api.accepted(to="hang-ann@example.org", subject="Sending")
    await stage.api.call("POST", "/domains", json={"name": domain})
    await stage.api.call("POST", "/suppressions", json={"email": long})
    await stage.api.call("POST", "/suppressions", json={"email": "ann@example.org", "list": "news"})
    return waiting


async def webhook(stage: Stage) -> str:
    """A webhook with a long URL, and an event that waits for it: its view."""
    url = f"https://hooks.example.com/{'a-long-path/' * 9}"
    made = await stage.api.call("POST", "/webhooks", json={"url": url, "tags": ["order"]})
    answer = await stage.api.call("POST", f"/webhooks/{made.json['id']}/test")
    assert answer.status == 202, answer
    return f"webhooks/{made.json['id']}"


async def settled(page: Page) -> None:
    await page.locator("main h1").first.wait_for()
    await expect(page.get_by_text("Reading…")).to_have_count(0)


@pytest.mark.timeout(180)
async def test_every_view_passes_the_accessibility_checks_in_both_colour_schemes(
    browser: Browser, stage: Stage
) -> None:
    context = await browser.new_context(
        viewport={"width": 1280, "height": 800}, bypass_csp=True, reduced_motion="reduce"
    )  # axe-core is put into the page
    page = await context.new_page()
    found: dict[str, list[str]] = {}

    async def check(state: str) -> None:
        for scheme in RULES:
            await page.emulate_media(color_scheme=scheme)
            background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (background == "rgb(255, 255, 255)") == (scheme == "light")
            found[f"{state}, {scheme}"] = await violations(page, scheme)

    await stage.open(page, "/")
    await check("sign in")
    await stage.enter(page)
    await stage.open(page, "/page/domains")
    await settled(page)
    await check("no domains")
    for view in ("webhooks", "domains"):
        await stage.open(page, f"/page/{view}")
        await settled(page)
        await page.keyboard.press("+")
        await check(f"new one of {view}")
    email_id = await one_of_each(stage)
    for path in (*VIEWS, f"emails/{email_id}", await webhook(stage), DOMAIN):
        await stage.open(page, f"/page/{path}")
        await settled(page)
        await check(path)
    await page.keyboard.press("?")
    await check("keys")
    await stage.open(page, "/page/emails?status=failed")
    await page.get_by_role("checkbox", name="Choose all that match").check()
    await check("chosen")
    await page.get_by_role("button", name="Export…").click()
    await check("export")
    await page.route("**/suppressions?*", lambda route: route.abort())
    for path in ("suppressions", "domains/none.example"):
        await stage.open(page, f"/page/{path}")
        await settled(page)
        await check(f"{path}, not read")
    await context.close()
    assert {view: faults for view, faults in found.items() if faults} == {}


async def violations(page: Page, scheme: str) -> list[str]:
    if not await page.evaluate("Boolean(window.axe)"):
        await page.evaluate(AXE_FILE_PATH.read_text() + "; 0")
    run = "(rules) => axe.run(document, {runOnly: rules, resultTypes: ['violations']})"
    result = await page.evaluate(run, RULES[scheme])
    passed = [rule["id"] for rule in result["passes"]]
    assert passed == RULES[scheme] or len(passed) > 10
    return [
        f"{fault['id']}: {node['target']} {node['any'][:1]}"
        for fault in result["violations"]
        for node in fault["nodes"]
    ]


async def test_every_view_fits_a_phone(browser: Browser, stage: Stage) -> None:
    email_id = await one_of_each(stage)
    context = await browser.new_context(
        viewport={"width": 375, "height": 812}, is_mobile=True, has_touch=True
    )
    page = await context.new_page()
    await stage.sign_in(page)
    for path in (*VIEWS, f"emails/{email_id}", await webhook(stage), DOMAIN):
        await stage.open(page, f"/page/{path}")
        await settled(page)
        assert await page.evaluate(
            "[document.documentElement.scrollWidth, visualViewport.scale]"
        ) == [375, 1], path
    await stage.open(page, "/page/emails")
    await page.locator(".rows li", has_text="Good").locator("a").tap()
    await expect(page.get_by_role("heading", name="Good")).to_be_visible()
    await context.close()


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
    await page.keyboard.type(stage.client_id)
    await page.keyboard.press("Tab")
    await page.keyboard.type(stage.secret)
    await page.keyboard.press("Enter")
    await expect(page.locator(".rows li")).to_have_count(2)
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Older")).to_be_visible()
    assert await focused(page) == "MAIN"
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
    await page.keyboard.press("g")
    await page.keyboard.press("w")
    await expect(page.get_by_role("heading", name="Workers")).to_be_visible()
    await page.keyboard.press("n")
    await page.keyboard.type("ann@example.org")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Hello from Babygun")).to_be_visible()
    await expect(page.locator(".standing .badge")).to_have_text("complete")


async def focused(page: Page) -> str:
    """The name of the element that has the focus."""
    name: str = await page.evaluate("document.activeElement.nodeName")
    return name


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
    await expect(page.get_by_label("curl command")).to_contain_text("it")
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
    import asyncio

    process = await asyncio.create_subprocess_exec(
        "sh", "-c", script, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err
    return out.decode()


async def test_client_is_made_with_a_secret_that_works_is_shown_once_and_is_deleted(
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
    await page.get_by_role("button", name="Delete web shop").click()
    await page.get_by_role("button", name="Delete", exact=True).click()
    await expect(page.get_by_role("row", name="web shop")).to_have_count(0)
    assert (await stage.api.call("GET", "/emails", token=answer.json["token"])).status == 401
    await expect(page.get_by_role("row", name="you").get_by_role("button")).to_have_count(0)


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
    await expect(page.locator(".rows li time")).to_contain_text("9:")
    await stage.api.call("POST", f"/emails/{email_id}/cancel")
    await page.clock.run_for(READ_AGAIN)
    await expect(page.get_by_role("heading", name="Nothing waits")).to_be_visible()


async def test_schedule_says_who_what_and_why_and_tries_now_or_cancels(
    page: Page, stage: Stage
) -> None:
    later = (utc_now() + timedelta(hours=1)).isoformat()
    await stage.api.accepted(subject="For later", to="bob@example.org", send_at=later)
    again = await stage.api.accepted(subject="Once more", to="soft-ann@example.org")
    await stage.rig.logged(again, "deferred")
    await stage.sign_in(page, "/page/schedule")
    for text in ("soft-ann@example.org", "main", "451 4.3.0", "try 2"):
        await expect(row(page, "Once more")).to_contain_text(text)
    await expect(row(page, "For later")).to_contain_text("for later, as it was asked for")
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
    assert await page.locator(".series").count() == 4


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


async def test_persons_own_colours_keep_bars_and_tries_in_sight(
    browser: Browser, stage: Stage
) -> None:
    email_id = await one_of_each(stage)
    context = await browser.new_context(
        viewport={"width": 1280, "height": 800}, forced_colors="active"
    )
    page = await context.new_page()
    await stage.sign_in(page, "/page/workers")
    paper = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    colour = "(part) => getComputedStyle(part).backgroundColor"
    assert await page.locator(".slice span").first.evaluate(colour) != paper
    await stage.open(page, f"/page/emails/{email_id}")
    part = page.locator(".part.try").first
    assert await part.evaluate("(part) => getComputedStyle(part).borderTopColor") != paper
    assert await page.locator(".part.wait").first.evaluate(colour) != paper
    # An address breaks between its parts only.
    count = """(link) => [...link.childNodes].filter((part) => part.data).map((part) => {
        const range = document.createRange(); range.selectNode(part);
        return range.getClientRects().length })"""
    for found in await page.locator(".recipients tbody th a").all():
        assert set(await found.evaluate(count)) == {1}
    await context.close()
