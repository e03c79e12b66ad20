"""Who is let in, what they may see, and how it ends."""

from __future__ import annotations

from pathlib import Path

from babygun.pki.issuance import issue
from babygun.pki.layout import https_only
from babygun.runtime.settings import Settings
from tests.browser.stage import (
    PATIENCE,
    Browser,
    Page,
    Stage,
    expect,
    many,
    row,
    stage_for,
    until,
)


async def test_sign_in_with_a_wrong_secret_says_so_and_with_the_right_one_opens_the_view(
    page: Page, stage: Stage
) -> None:
    await stage.open(page, "/page/emails?status=failed")
    await page.get_by_label("Client id").fill(stage.client_id)
    await page.get_by_label("Secret").fill("wrong")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_have_text(
        "There is no client with this id and secret."
    )
    await page.get_by_label("Secret").fill(stage.secret)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="E-mails", exact=True)).to_be_visible()
    assert page.url == f"{stage.api.url}/page/emails?status=failed"


async def test_session_is_a_cookie_that_scripts_cannot_read_and_outlives_a_reload(
    page: Page, stage: Stage
) -> None:
    await stage.sign_in(page)
    [cookie] = await page.context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == (
        "babygun_session",
        True,
        "Strict",
    )
    assert await page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == [
        "",
        0,
        0,
    ]
    await page.reload()
    await expect(page.get_by_role("heading", name="E-mails", exact=True)).to_be_visible()


async def test_sign_out_revokes_the_session_and_shows_nothing_more(
    page: Page, stage: Stage
) -> None:
    await stage.api.accepted(subject="A secret plan")
    await stage.sign_in(page)
    await expect(page.get_by_text("A secret plan")).to_be_visible()
    [cookie] = await page.context.cookies()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await expect(page.get_by_text("A secret plan")).to_have_count(0)
    answer = await stage.api.call(
        "GET", "/emails", token="", headers={"Cookie": f"babygun_session={cookie['value']}"}
    )
    answer.problem(401, "invalid-token")


async def test_session_over_tls_is_a_cookie_of_this_host_alone(
    browser: Browser, settings: Settings, tmp_path: Path
) -> None:
    list(issue(tmp_path, https_only(())))
    https = {"api_cert": "https.pem", "api_key": "https-key.pem", "api_ca": "api-ca.pem"}
    files = {name: str(tmp_path / "api" / file) for name, file in https.items()}
    async with stage_for(settings, worker=False, **files) as stage:
        context = await browser.new_context(ignore_https_errors=True)
        context.set_default_timeout(PATIENCE * 1000)
        page = await context.new_page()
        await stage.sign_in(page)
        [cookie] = await context.cookies()
        assert {name: cookie.get(name) for name in ("name", "secure", "httpOnly", "path")} == {
            "name": "__Host-babygun_session",
            "secure": True,
            "httpOnly": True,
            "path": "/",
        }
        await page.reload()
        email_id = await stage.api.accepted(subject="Seen over TLS")
        await expect(row(page, "Seen over TLS")).to_be_visible()
        posted = "path => fetch(path, {method: 'POST'}).then(answer => answer.status)"
        assert await page.evaluate(posted, f"/emails/{email_id}/cancel") == 200
        await expect(row(page, "Seen over TLS").locator(".badge")).to_have_text("cancelled")
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        assert await context.cookies() == []
        await context.close()


async def test_session_that_ends_asks_to_sign_in_and_leads_back_to_the_same_place(
    page: Page, stage: Stage
) -> None:
    await many(stage, 200)
    await stage.sign_in(page)
    await row(page, "Digest 198").get_by_role("checkbox").check()
    await row(page, "Digest 196").get_by_role("checkbox").check()
    await page.evaluate("scrollTo(0, 3000)")
    await expect(row(page, "Digest 140")).to_be_visible()
    await revoke(page, stage)
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await expect(page.get_by_role("dialog")).to_contain_text("Your session has ended")
    await stage.enter(page)
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.get_by_text("2 chosen")).to_be_visible()
    await until(page, "scrollY", 3000)
    await page.evaluate("scrollTo(0, 0)")
    await expect(row(page, "Digest 196").get_by_role("checkbox")).to_be_checked()
    await revoke(page, stage)
    await stage.enter(page, await stage.client("emails:read"))
    await expect(page.get_by_role("heading", name="No e-mails yet")).to_be_visible()
    await expect(page.get_by_text("chosen")).to_have_count(0)


async def revoke(page: Page, stage: Stage) -> None:
    """Ends the page's session from elsewhere."""
    [cookie] = await page.context.cookies()
    answer = await stage.api.call("DELETE", "/session", token=cookie["value"])
    assert answer.status == 204


async def test_sign_out_in_one_tab_shows_nothing_more_in_another(page: Page, stage: Stage) -> None:
    await stage.api.accepted(subject="A secret plan")
    await stage.sign_in(page)
    other = await page.context.new_page()
    await stage.open(other, "/page/emails")
    await expect(other.get_by_text("A secret plan")).to_be_visible()
    await page.get_by_role("button", name="Sign out").click()
    await expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
    await expect(other.get_by_text("A secret plan")).to_have_count(0)


async def test_client_that_may_only_send_comes_to_compose(page: Page, stage: Stage) -> None:
    await stage.sign_in(page, "/", await stage.client("emails:send"))
    await expect(page.get_by_role("heading", name="Compose")).to_be_visible()
    await page.get_by_label("To several").fill("ann@example.org")
    await page.get_by_role("button", name="Send", exact=True).click()
    await expect(page.locator(".note")).to_contain_text("Accepted as 0")
    await expect(page.get_by_role("heading", name="Compose")).to_be_visible()


async def test_client_with_one_scope_sees_its_own_emails_and_no_way_to_change_them(
    page: Page, stage: Stage
) -> None:
    await stage.api.accepted(subject="Somebody else's")
    reader = await stage.client("emails:read")
    await stage.sign_in(page, "/", reader)
    await expect(page.get_by_role("heading", name="No e-mails yet")).to_be_visible()
    assert await page.get_by_role("navigation").get_by_role("link").all_inner_texts() == [
        "E-mails",
        "Schedule",
    ]
    await page.goto(f"{stage.api.url}/page/clients")
    await expect(page.get_by_role("heading", name="You may not see this")).to_be_visible()
