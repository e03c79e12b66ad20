"""How fast the page comes, and that floods of changes and long lists don't stop it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from babygun.email.model import Email, as_json
from babygun.etcd import Txn, put
from tests.api.proxy import proxy_to
from tests.browser.stage import Browser, Page, Stage, expect
from tests.browser.test_list import many, row

FIRST_PAINT = 300  # ms
A_SECOND = 1000  # updates
FROZEN = 2000  # ms between two frames: far above what an idle machine shows, since this one is busy with other tests


async def test_page_paints_within_300_ms_and_is_small(browser: Browser, stage: Stage) -> None:
    paints: list[float] = []
    sizes: list[int] = []
    # The other tests keep the machine busy: what counts is that the page can, so it is asked until it has been quick once.
    while min(paints, default=FIRST_PAINT) >= FIRST_PAINT and len(paints) < 15:
        context = await browser.new_context()
        page = await context.new_page()
        await stage.open(page, "/page/emails")
        paints.append(
            await page.evaluate(
                "performance.getEntriesByName('first-contentful-paint')[0].startTime"
            )
        )
        sizes.append(
            await page.evaluate(
                "performance.getEntries().filter((one) => one.transferSize).reduce((sum, one) => sum + one.transferSize, 0)"
            )
        )
        await context.close()
    assert min(paints) < FIRST_PAINT, paints
    assert max(sizes) < 60_000  # with all headers


async def test_thousand_updates_a_second_leave_the_page_responsive(
    page: Page, stage: Stage
) -> None:
    ids = await many(stage, 500)
    emails = [await stage.rig.get(email_id) for email_id in ids]
    await stage.sign_in(page)
    await expect(row(page, "Digest 499")).to_be_visible()
    await page.get_by_text("Live", exact=True).wait_for()
    await page.evaluate(WATCH_FRAMES)
    flood = asyncio.create_task(flooded(stage, emails, seconds=4))
    await page.get_by_role("button", name="failed").click()
    await expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
    await page.get_by_role("button", name="all", exact=True).click()
    await expect(row(page, "Digest 499")).to_be_visible()
    await flood
    await expect(row(page, "Digest 499").locator(".badge")).to_have_text("failed")
    await expect(row(page, "Digest 490").locator(".badge")).to_have_text("failed")
    longest = await page.evaluate("longest")
    assert longest < FROZEN, f"the page stood still for {longest} ms"


WATCH_FRAMES = """() => {
    window.longest = 0;
    let before = performance.now();
    const frame = () => {
        const now = performance.now();
        longest = Math.max(longest, now - before);
        before = now;
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
}"""


async def flooded(stage: Stage, emails: list[Email], *, seconds: int) -> None:
    """Writes each record again and again, A_SECOND times a second, and as failed at the end."""
    keys = stage.rig.store.keys
    started = asyncio.get_running_loop().time()
    for tick in range(seconds * 10):
        for at in range(0, A_SECOND // 10, 100):
            part = [emails[(tick * A_SECOND // 10 + at + n) % len(emails)] for n in range(100)]
            await stage.rig.store.client.txn(
                Txn(
                    [],
                    [
                        put(keys.email(email.id), as_json(replaced(email, tries=tick)))
                        for email in part
                    ],
                )
            )
        await asyncio.sleep(max(0.0, started + (tick + 1) / 10 - asyncio.get_running_loop().time()))
    for at in range(0, len(emails), 100):
        await stage.rig.store.client.txn(
            Txn(
                [],
                [
                    put(keys.email(email.id), as_json(replaced(email, status="failed")))
                    for email in emails[at : at + 100]
                ],
            )
        )


def replaced(email: Email, **changes: Any) -> Email:
    return msgspec.structs.replace(email, **changes)


async def test_lost_connection_is_said_and_taken_up_again_without_gaps(
    page: Page, stage: Stage
) -> None:
    email_id = await stage.api.accepted(subject="Before", to="hang-ann@example.org")
    async with proxy_to(stage.api.url) as proxy:
        await stage.open(page, "/page/emails", url=proxy.url)
        await stage.enter(page)
        await expect(page.locator(".live")).to_have_text("Live")
        await expect(row(page, "Before").locator(".badge")).to_have_text("sending")
        proxy.cut()
        stage.smtp.release()
        await stage.rig.ended(email_id, await stage.api.accepted(subject="Meanwhile"))
        await expect(page.locator(".live")).to_have_text("Offline")
        proxy.mend()
        await expect(page.locator(".live")).to_have_text("Live")
        await expect(row(page, "Before").locator(".badge")).to_have_text("complete")
        await expect(row(page, "Meanwhile").locator(".badge")).to_have_text("complete")
