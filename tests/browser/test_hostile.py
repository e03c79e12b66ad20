"""Hostile content is shown and does nothing: no script runs, nothing is loaded or sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import quote

import aiohttp
import msgspec
import pytest_asyncio
from msgspec.structs import replace

from babygun.email.tries import RecipientResult
from babygun.store.access.clients import create_client
from babygun.store.cluster.processes import list_workers
from babygun.store.sites.holds import begin
from tests.browser.stage import Page, Stage, expect, until
from tests.support.streams import listening

GIF = "R0lGODlhAQABAIAAAAAAAP8AACwAAAAAAQABAAACAkQBADs="


@dataclass
class Trap:
    """A server that nothing should ever call. ``touched``: the first bytes of each connection."""

    url: str = ""
    touched: list[bytes] = field(default_factory=list)

    async def was_not_touched(self) -> None:
        """Fails if anything has called it. Calls it then, to show that it would have seen that."""
        assert self.touched == []
        async with aiohttp.request("GET", self.url) as answer:
            assert answer.status == 204 and self.touched


@pytest_asyncio.fixture(loop_scope="session")
async def trap() -> AsyncIterator[Trap]:
    trap = Trap()

    async def touched(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        trap.touched.append(b"a connection")
        trap.touched.append(await reader.read(200))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    async with listening(touched) as port:
        trap.url = f"http://127.0.0.1:{port}"
        yield trap


def hostile(url: str) -> str:
    return f"""<html><head>
<link rel="preconnect" href="{url}"><link rel="stylesheet" href="{url}/a.css"><base href="{url}/">
<meta http-equiv="refresh" content="0;url={url}/refresh">
<style>@import "{url}/b.css"; body {{ background: url({url}/c.png); }}
h1 {{ color: rgb(0, 128, 0); }}</style>
</head><body>
<h1 style="letter-spacing: 3px">Newsletter</h1>
<script>fetch("{url}/script"); top.document.title = "taken"; alert(1)</script>
<img src="{url}/beacon.gif" onerror="alert(2)"><img id="own" src="cid:logo">
<svg onload="alert(3)"></svg><iframe src="{url}/frame"></iframe>
<video poster="{url}/poster" src="{url}/video" autoplay></video>
<object data="{url}/object"></object><embed src="{url}/embed">
<form action="{url}/form" method="post"><input name="password"><button>Log in</button></form>
<form action="/session" method="post"><button>Same site</button></form>
<a href="{url}/link" ping="{url}/ping">A link</a>
<a href="{url}/top" target="_top">Out of the frame</a><a href="javascript:alert(4)">Script</a>
</body></html>"""


async def test_html_with_script_beacon_and_form_is_shown_and_reaches_nobody(
    page: Page, stage: Stage, trap: Trap
) -> None:
    dialogs: list[str] = []
    page.on(
        "dialog",
        lambda dialog: (dialogs.append(dialog.message), asyncio.ensure_future(dialog.dismiss())),
    )
    email_id = await stage.api.accepted(
        html=hostile(trap.url),
        attachments=[
            {
                "filename": "logo.gif",
                "content_type": "image/gif",
                "content": GIF,
                "content_id": "logo",
            }
        ],
    )
    await stage.rig.ended(email_id)
    await stage.sign_in(page, f"/page/emails/{email_id}")
    await page.get_by_role("tab", name="HTML").click()
    frame = page.frame_locator("iframe")
    await expect(frame.locator("h1")).to_have_text("Newsletter")
    await expect(frame.locator("h1")).to_have_css(
        "color", "rgb(0, 128, 0)"
    )  # its own style is shown
    await expect(frame.locator("h1")).to_have_css("letter-spacing", "3px")
    await expect(frame.locator("#own")).to_have_js_property(
        "naturalWidth", 1
    )  # and the picture that came along
    for name in ("Log in", "Same site"):
        await frame.get_by_role("button", name=name).click()
    for name in ("Out of the frame", "Script", "A link"):
        await frame.get_by_text(name, exact=True).click()
    await page.wait_for_timeout(500)  # for what must not come
    await trap.was_not_touched()
    assert dialogs == []
    assert page.url == f"{stage.api.url}/page/emails/{email_id}"
    assert await page.title() == "Hello · Babygun"
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()


async def test_markup_in_addresses_subjects_tags_and_replies_is_text(
    page: Page, stage: Stage
) -> None:
    mark = "<img src=x onerror=\"document.title='taken'\"><b>bold</b>"
    stage.smtp.rcpt["hard-ann@example.org"] = f"550 5.1.1 {mark}"
    email_id = await stage.api.accepted(
        subject=mark,
        to=f'"{mark.replace(chr(34), chr(39))}" <hard-ann@example.org>',
        body=mark,
        headers={"X-Mark": mark},
        metadata={mark: mark},
    )
    await stage.rig.ended(email_id)
    await stage.sign_in(page)
    await expect(page.locator(".subject")).to_contain_text(mark)
    await page.locator(".rows a").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(mark)
    await expect(page.locator(".recipients .reason")).to_contain_text("<b>bold</b>")
    await expect(page.get_by_role("tabpanel")).to_have_text(mark)
    assert await page.locator("main b, main img").count() == 0
    assert await page.title() == f"{mark} · Babygun"


async def test_answers_of_the_api_can_not_be_framed_or_run_by_the_page(
    page: Page, stage: Stage
) -> None:
    """The page's own policy: no inline script, no eval, no other origin."""
    await stage.sign_in(page)
    await page.evaluate(
        """() => {
            window.refused = {};
            addEventListener("securitypolicyviolation", (event) => {
                refused[event.effectiveDirective] = true;
            });
            try { document.body.innerHTML += "x"; } catch { refused["trusted-types"] = true; }
            for (const name of ["img", "iframe"]) {
                const element = document.createElement(name);
                element.src = "https://example.org/x.png";
                document.body.append(element);
            }
        }"""
    )
    for directive in ("trusted-types", "img-src", "frame-src"):
        await until(page, f"refused['{directive}']", True)


async def test_words_of_a_server_that_holds_a_queue_are_shown_as_text(
    stage: Stage, page: Page, trap: Trap
) -> None:
    words = f'<img src="{trap.url}/x" onerror="alert(1)"> \x1b[31mlog in \u202eagain'
    refused = RecipientResult("hold", "authentication", 535, "5.7.8", words)
    assert await begin(stage.rig.store, "main", refused, worker_id="w1", first_probe=900.0)
    await stage.sign_in(page, "/page/overview")
    held = page.locator(".held")
    await expect(held).to_contain_text("main is held, begun")
    await expect(held).to_contain_text('535 5.7.8 <img src="')
    assert await held.locator("img").count() == 0
    email_id = await stage.api.accepted()
    await stage.open(page, f"/page/emails/{email_id}")
    await expect(held).to_contain_text('535 5.7.8 <img src="')
    await trap.was_not_touched()


async def test_script_in_any_field_that_the_page_shows_is_text(
    page: Page, stage: Stage, trap: Trap
) -> None:
    """Fields of e-mails, names of clients, what workers say of themselves, a server's words."""
    alarms: list[str] = []
    page.on("dialog", lambda dialog: alarms.append(dialog.message))
    page.on("console", lambda line: line.type == "error" and alarms.append(line.text))
    marks = iter(range(1000))

    def mark() -> str:
        n = next(marks)
        return f"<img src={trap.url}/{n} onerror=alert({n})><script>alert({n})</script>"

    stage.smtp.rcpt["hard-ann@example.org"] = f"550 5.1.1 {mark()}"
    email_id = await stage.api.accepted(
        subject=mark(),
        sender=f'"{mark()}" <me@example.com>',
        to=f'"{mark()}" <hard-ann@example.org>',
        reply_to=f'"{mark()}" <back@example.org>',
        body=mark(),
        headers={"X-Mark": mark()},
        metadata={mark(): mark()},
        attachments=[
            {"filename": mark().replace("/", ""), "content": "aGk=", "content_type": "text/html"}
        ],
    )
    await stage.rig.ended(email_id)
    store = stage.rig.store
    [worker] = await list_workers(store)
    hostile = replace(
        worker, id=mark().replace("/", "|"), hostname=mark(), ip=mark(), version=mark()
    )
    hostile = replace(hostile, queues={mark(): mark()})
    await store.client.put(store.keys.worker(hostile.id), msgspec.json.encode(hostile))
    await create_client(store, name=mark(), scopes=("emails:read",))
    words = RecipientResult("hold", "authentication", 535, "5.7.8", mark())
    assert await begin(store, mark().replace("/", "|"), words, worker_id="w1")

    await stage.sign_in(page, f"/page/emails/{email_id}")
    await page.get_by_role("tab").first.wait_for()
    for tab in await page.get_by_role("tab").all():
        await tab.click()
        await expect(page.get_by_role("tabpanel")).to_contain_text("<img src=")
    for view in ("overview", "emails", "schedule", "workers", "clients", f"emails/{email_id}"):
        await stage.open(page, f"/page/{view}")
        if view != "schedule":
            await expect(page.locator("main")).to_contain_text("<img src=")
        assert await page.locator("main img, main script").count() == 0, view
    await stage.open(page, f"/page/compose?from={email_id}")
    await stage.open(page, f"/page/emails?tag={quote(mark())}&recipient={quote(mark())}")
    await page.goto(f"{stage.api.url}/page/emails/{quote(mark().replace('/', '|'))}")
    await expect(page.get_by_role("link", name="Back to the list")).to_be_visible()
    assert await page.locator("main img, main script").count() == 0
    await trap.was_not_touched()
    answers = "the server responded with a status of"  # 401 before the sign-in, 404, 422
    assert [alarm for alarm in alarms if answers not in alarm] == []
