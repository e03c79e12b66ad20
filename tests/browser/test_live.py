"""The page under a flood of changes, and while the connection is lost."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import msgspec

from babygun.email.model import Email
from babygun.etcd import Txn, put
from babygun.store import codec
from tests.browser.stage import ALL, Page, Stage, expect, many, row
from tests.support.proxy import proxy_to

AT_ONCE = 100  # updates of one transaction


async def test_flood_of_updates_leaves_the_page_usable_and_ends_in_the_last_state(
    page: Page, stage: Stage
) -> None:
    ids = await many(stage, 500)
    emails = [await stage.rig.get(email_id) for email_id in ids]
    await stage.sign_in(page)
    await expect(row(page, "Digest 499")).to_be_visible()
    await page.get_by_text("Live", exact=True).wait_for()
    over = asyncio.Event()
    flood = asyncio.create_task(flooded(stage, emails, over))
    await page.get_by_role("button", name="failed").click()
    await expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
    await page.get_by_role("button", name=ALL).click()
    await expect(row(page, "Digest 499")).to_be_visible()
    over.set()
    await flood
    await write(stage, emails, status="failed")
    await expect(row(page, "Digest 499").locator(".badge")).to_have_text("failed")
    await expect(row(page, "Digest 490").locator(".badge")).to_have_text("failed")


async def flooded(stage: Stage, emails: list[Email], over: asyncio.Event) -> None:
    """Writes all records again and again, some 1,000 a second where the machine is quick enough."""
    for number in itertools.count():
        await write(stage, emails, tries=number)
        await asyncio.sleep(0.4)
        if over.is_set():
            return


async def write(stage: Stage, emails: list[Email], **changes: Any) -> None:
    keys = stage.rig.store.keys
    for at in range(0, len(emails), AT_ONCE):
        changed = [msgspec.structs.replace(e, **changes) for e in emails[at : at + AT_ONCE]]
        puts = [put(keys.email(email.id), codec.encode_state(email)) for email in changed]
        await stage.rig.store.client.txn(Txn([], puts))


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
