"""Every view in every state: accessible, on a phone, at 200 %, in a person's own colours.

One stage has something for each view, and each view is loaded once for all of that.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from axe_playwright_python.base import AXE_FILE_PATH

from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.domains.alarms import raise_alarm
from babygun.store.records import SiteReport
from babygun.store.sites.reports import write_report
from babygun.store.warm_ups import counts, sources
from tests.browser.stage import PATIENCE, Browser, Page, Stage, expect, stage_for

LONG_DOMAIN = "a-subdomain.of-another.of-a-company-with-a-long-name.example.com"
# Rules, or tags of rules, of axe. The colours alone are others in the dark.
RULES: dict[Any, list[str]] = {
    "light": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"],
    "dark": ["color-contrast"],
}
DESKTOP = {"width": 1280, "height": 800}
# A phone; a desktop's window at 200 %, which has half as many of the page's pixels.
NARROW = {"phone": {"width": 375, "height": 812}, "200 %": {"width": 640, "height": 400}}

# Dialogs: a view, and the button that opens one there.
DIALOGS = (
    ("clients", "New client"),
    ("clients", "Change shop"),
    ("clients", "New secret shop"),
    ("clients", "Delete shop"),
    ("sites", "Hold a site"),
    ("sites", "Hold… mx:google"),
    ("suppressions", "Add an address"),
    ("webhooks", "New webhook"),
    ("domains", "New domain"),
    (f"domains/{LONG_DOMAIN}", "Clients…"),
    (f"domains/{LONG_DOMAIN}", "New keys…"),
    ("emails/{waiting}", "Change…"),
    ("webhooks/{webhook}", "Change…"),
    ("webhooks/{webhook}", "Send again…"),
    ("warm-ups", "Begin again: shop.example"),
)
VIEWS = (
    *("overview", "emails", "emails/{waiting}", "emails/{many}", "compose", "schedule"),
    *("workers", "sites", "domains", f"domains/{LONG_DOMAIN}", "warm-ups"),
    *("webhooks", "webhooks/{webhook}", "suppressions", "clients", "privacy", "audit"),
)
# Nothing to show, or nothing that can be: what the view says.
STATES = (
    ("emails?subject=nowhere", "Nothing matches"),
    ("audit?target=nowhere", "Nothing matches"),
    ("suppressions?prefix=nowhere", "Nothing matches"),
    ("emails/019ab8c2-7f41-7d3a-9c55-2b7e4f1a90c8", "There is no such e-mail"),
    ("domains/none.example", "There is no such domain"),
)
# Views whose call fails.
FAILING = ("suppressions", "audit", "warm-ups", "clients")


async def furnish(stage: Stage) -> dict[str, str]:
    """Something for each view, with long and odd texts; the ids that addresses need."""
    long = f"a-very-long-local-part-that-goes-on-and-on@{LONG_DOMAIN}"
    await stage.api.accepted(subject="Good")
    waiting = await stage.api.accepted(
        to=["soft-ann@example.org", "hard-bob@example.org", long],
        subject="word" * 60,
        tags=["order", "invoice"],
        metadata={"order": "4711"},
    )
    many = await stage.api.accepted(to=[f"hard-{n}@example.org" for n in range(12)], subject="All")
    await stage.rig.ended(await stage.api.accepted(to="hard-ann@example.org", subject="Bad"), many)
    await stage.rig.logged(waiting, "deferred")
    cancelled = await stage.api.accepted(to="soft-eve@example.org", subject="Stopped")
    await stage.rig.logged(cancelled, "deferred")
    await stage.api.call("POST", f"/emails/{cancelled}/cancel")
    await stage.api.accepted(to="hang-ann@example.org", subject="Sending")
    for path, body in (
        ("domains", {"name": LONG_DOMAIN}),
        ("suppressions", {"email": long}),
        ("suppressions", {"email": "ann@example.org", "list": "news"}),
        ("clients", {"name": "shop", "scopes": ["emails:send"], "rate": 5, "weight": 3}),
        ("sites/mx:gmx/hold", {"reason": "they asked for it " * 9, "lasts": "2h"}),
    ):
        answer = await stage.api.call("POST", f"/{path}", json=body)
        assert answer.status < 300, answer
    url = f"https://hooks.example.com/{'a-long-path/' * 9}"
    made = await stage.api.call("POST", "/webhooks", json={"url": url, "tags": ["order"]})
    webhook = made.json["id"]
    assert (await stage.api.call("POST", f"/webhooks/{webhook}/test")).status == 202
    await of_others(stage.rig.store)
    return {"waiting": waiting, "many": many, "webhook": webhook}


async def of_others(store: Store) -> None:
    """What mail servers and other workers bring about."""
    await raise_alarm(
        store,
        LONG_DOMAIN,
        "unauthenticated",
        site="mx:google",
        code=550,
        enhanced_code="5.7.26",
        text="This mail has been blocked because the sender is unauthenticated.",
    )
    lease = await store.client.grant(600)
    reported = [SiteReport(site="mx:google", queues=311, waiting=1204, why="pace")]
    await write_report(store, reported, worker_id="one", lease_id=lease)
    await warm_up(store, "shop.example")


async def warm_up(store: Store, name: str) -> None:
    """The third day of a source's warm-up: a site that has room, and one that has none."""
    now = utc_now()
    source = await sources.begin(store, name, now - timedelta(days=2))
    for site, sent in (("mx:google", (50, 100, 200)), ("mx:outlook", (50, 31, 12))):
        for ago, wanted in enumerate(reversed(sent)):
            day = (now - timedelta(days=ago)).date()
            await counts.take(store, source, site, day, ceiling=wanted, wanted=wanted, workers=1)
    await counts.change(store, name, "mx:google", now.date(), put_off=130)


@dataclass
class Look:
    """What is wrong with each view, by its state and how one looks at it."""

    page: Page
    found: dict[str, list[str]] = field(default_factory=dict)

    async def at(self, state: str) -> None:
        """Looks at what is shown, in every way."""
        page = self.page
        for scheme in RULES:
            await page.emulate_media(color_scheme=scheme)
            background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (background == "rgb(255, 255, 255)") == (scheme == "light")
            self.found[f"{state}, {scheme}"] = await violations(page, scheme)
        await page.emulate_media(color_scheme="light", forced_colors="active")
        self.found[f"{state}, forced colours"] = await page.evaluate(UNSEEN)
        await page.emulate_media(forced_colors="none")
        for name, size in NARROW.items():
            await page.set_viewport_size(size)
            self.found[f"{state}, {name}"] = await page.evaluate(TOO_WIDE)
        await page.set_viewport_size(DESKTOP)


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


# Shapes that are drawn by a background, a border or a filling, and have the colour of the paper.
UNSEEN = """() => {
    const paper = getComputedStyle(document.body).backgroundColor;
    const clear = (colour) => [paper, "rgba(0, 0, 0, 0)", "none"].includes(colour);
    const shapes = ".slice span, .part.wait, .part.plan, .part.try, .bar, .limit, .series";
    return [...document.querySelectorAll(shapes)].filter((shape) => {
        const style = getComputedStyle(shape);
        return [style.backgroundColor, style.borderTopColor, style.fill, style.stroke]
            .slice(...(shape.ownerSVGElement ? [2] : [0, 2])).every(clear);
    }).map((shape) => shape.getAttribute("class") + " of " + shape.parentNode.className);
}"""
# What reaches beyond the window and makes it scroll sideways; and dialogs that don't fit.
TOO_WIDE = """() => {
    const { clientWidth, scrollWidth } = document.documentElement;
    const wide = (element) => element.getBoundingClientRect().right > clientWidth + 1;
    const found = scrollWidth > clientWidth
        ? [...document.querySelectorAll("main *")].filter(wide).map((one) => one.outerHTML) : [];
    for (const dialog of document.querySelectorAll("dialog[open]")) {
        const { left, right, top, bottom } = dialog.getBoundingClientRect();
        if (left < 0 || right > innerWidth || top < 0 || bottom > innerHeight
            || dialog.scrollWidth > dialog.clientWidth) found.push("the dialog");
    }
    return found.map((one) => one.slice(0, 200));
}"""


async def settled(page: Page) -> None:
    await page.locator("main h1").first.wait_for()
    await expect(page.get_by_text("Reading…")).to_have_count(0)


async def walk(stage: Stage, look: Look) -> None:
    """Every view, dialog, empty state and error."""
    page = look.page
    await stage.open(page, "/")
    await look.at("sign in")
    await stage.enter(page)
    for view in ("webhooks", "domains", "schedule", "emails", "warm-ups"):
        await stage.open(page, f"/page/{view}")
        await settled(page)
        await look.at(f"{view}, empty")
    ids = await furnish(stage)
    for view in VIEWS:
        await stage.open(page, f"/page/{view.format(**ids)}")
        await settled(page)
        await look.at(view)
    await page.keyboard.press("?")
    await look.at("keys")
    before = ""
    for view, button in DIALOGS:
        if view != before:
            await stage.open(page, f"/page/{view.format(**ids)}")
            before = view
        await page.get_by_role("button", name=button, exact=True).click()
        await page.get_by_role("dialog").wait_for()
        await look.at(f"{view}, {button}")
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)
    await stage.open(page, "/page/emails?status=failed")
    await page.get_by_role("checkbox", name="Choose all that match").check()
    await page.get_by_role("button", name="Retry…").wait_for()
    await look.at("chosen")
    await page.get_by_role("button", name="Export…").click()
    await look.at("export")
    for view, said in STATES:
        await stage.open(page, f"/page/{view}")
        await page.get_by_role("heading", name=said).wait_for()
        await look.at(view)
    for view in FAILING:
        call = re.compile(rf"//[^/]+/{view}(\?|$)")
        await page.route(call, lambda route: route.abort())
        await stage.open(page, f"/page/{view}")
        await page.get_by_role("button", name="Try again").wait_for()
        await look.at(f"{view}, not read")
    secret = await stage.api.call("POST", "/clients", json={"name": "s", "scopes": ["webhooks"]})
    await page.get_by_role("button", name="Sign out").click()
    await stage.enter(page, (secret.json["id"], secret.json["client_secret"]))
    await page.get_by_role("heading", name="You may not see this").wait_for()
    await look.at("not allowed")


@asynccontextmanager
async def looking(browser: Browser) -> AsyncIterator[Look]:
    context = await browser.new_context(
        viewport=DESKTOP, bypass_csp=True, reduced_motion="reduce"
    )  # axe-core is put into the page
    context.set_default_timeout(PATIENCE * 1000)
    yield Look(await context.new_page())
    await context.close()


@pytest.mark.timeout(600)
async def test_every_view_and_state_is_accessible_fits_narrow_windows_and_stays_in_own_colours(
    browser: Browser, settings: Settings
) -> None:
    async with stage_for(settings, warm_up="both") as stage, looking(browser) as look:
        await walk(stage, look)
        faults = [f"{state}: {one}" for state, found in look.found.items() for one in found]
        assert not faults, "\n".join(faults)
        await touched(browser, stage)


async def touched(browser: Browser, stage: Stage) -> None:
    """A phone shows the page as wide as it is, and a tap opens an e-mail."""
    context = await browser.new_context(viewport=NARROW["phone"], is_mobile=True, has_touch=True)
    context.set_default_timeout(PATIENCE * 1000)
    page = await context.new_page()
    await stage.sign_in(page)
    assert await page.evaluate("visualViewport.scale") == 1
    await page.locator(".rows li", has_text="Good").locator("a").tap()
    await expect(page.get_by_role("heading", name="Good")).to_be_visible()
    await context.close()
