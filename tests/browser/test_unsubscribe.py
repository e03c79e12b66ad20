"""The page behind a link to unsubscribe: from an e-mail that a worker has sent to the button."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from babygun.runtime.settings import Settings
from tests.browser.stage import PATIENCE, Browser, Page, Stage, expect, stage_for
from tests.browser.test_every_view import RULES, violations
from tests.support.news import LINK, parsed

PUBLIC_URL = LINK.removesuffix("/unsubscribe")
LONG = f"{'long-' * 12}@{'sub.' * 20}example.org"


@pytest_asyncio.fixture(loop_scope="session")
async def stage(settings: Settings) -> AsyncIterator[Stage]:
    async with stage_for(settings, public_url=PUBLIC_URL) as stage:
        yield stage


async def link_to(stage: Stage, address: str) -> str:
    """The path of the link in an e-mail of the list ``news`` to this address."""
    sent = len(stage.smtp.messages)
    await stage.api.accepted(to=address, unsubscribe={"list": "news"})
    await stage.smtp.wait_for(sent + 1)
    [message] = stage.smtp.to(address)
    url = str(parsed(message)["List-Unsubscribe"])[1:-1]
    assert url.startswith(LINK)
    return url.removeprefix(PUBLIC_URL)


async def statuses(stage: Stage, *addresses: str) -> list[str]:
    """What becomes of the recipients of one more e-mail of the list."""
    email_id = await stage.api.accepted(to=list(addresses), unsubscribe={"list": "news"})
    [email] = await stage.rig.ended(email_id)
    return [recipient.status for recipient in email.recipients]


async def test_button_unsubscribes_without_scripts_and_later_mail_goes_to_others_only(
    browser: Browser, stage: Stage
) -> None:
    path = await link_to(stage, "ann@example.org")
    context = await browser.new_context(java_script_enabled=False)
    context.set_default_timeout(PATIENCE * 1000)
    page = await context.new_page()
    await stage.open(page, path)
    await expect(page).to_have_title("Unsubscribe")
    await expect(page.locator("main")).to_contain_text("a…@example.org")
    await page.get_by_role("button", name="Unsubscribe").click()
    await expect(page.get_by_role("heading")).to_have_text("You are unsubscribed")
    assert await context.cookies() == []
    await context.close()
    assert await statuses(stage, "ann@example.org", "bob@example.org") == [
        "suppressed",
        "delivered",
    ]


async def test_one_click_of_a_mail_program_unsubscribes_from_that_list_alone(
    stage: Stage,
) -> None:
    path = await link_to(stage, "ann@example.org")
    for _ in range(2):
        answer = await stage.api.call(
            "POST",
            path,
            token="",
            data=b"List-Unsubscribe=One-Click",
            content_type="application/x-www-form-urlencoded",
        )
        assert answer.status == 200
    assert await statuses(stage, "ann@example.org") == ["suppressed"]
    await stage.rig.ended(await stage.api.accepted(to="ann@example.org", subject="Your order"))
    assert len(stage.smtp.to("ann@example.org")) == 2, "other mail goes there"


@pytest.mark.parametrize("scheme", RULES)
async def test_pages_pass_the_accessibility_checks_and_fit_a_phone(
    browser: Browser, stage: Stage, scheme: Any
) -> None:
    path = await link_to(stage, LONG)
    context = await browser.new_context(
        viewport={"width": 375, "height": 667}, color_scheme=scheme, bypass_csp=True
    )  # axe-core is put into the page
    context.set_default_timeout(PATIENCE * 1000)
    page = await context.new_page()
    for at in (path, "/unsubscribe/x", path + "#done"):
        await stage.open(page, at)
        if at.endswith("#done"):
            await page.get_by_role("button").click()
            await expect(page.get_by_role("heading")).to_have_text("You are unsubscribed")
        assert await violations(page, scheme) == []
        assert await page.evaluate("document.documentElement.scrollWidth") == 375
        background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    await context.close()


async def test_page_obeys_its_own_policy(page: Page, stage: Stage) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    await stage.open(page, await link_to(stage, "ann@example.org"))
    padding = await page.evaluate("getComputedStyle(document.querySelector('main')).paddingTop")
    assert padding == "48px", "the style is there"
    await page.get_by_role("button").press("Enter")
    await expect(page.get_by_role("heading")).to_have_text("You are unsubscribed")
    assert [text for text in complaints if "favicon" not in text] == []
