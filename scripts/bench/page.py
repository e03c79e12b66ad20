"""The page in a browser: how soon it is there, and how long a flood of changes stops it.

Each opening has a fresh browser profile. During the flood the list shows 500 e-mails whose records
change 1,000 times a second, and the longest time between two frames counts.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec

from babygun.email.model import Email
from babygun.etcd import Txn, put
from babygun.runtime import settings
from babygun.store import Store, codec
from scripts.bench import machine, report
from scripts.bench.processes import Stage, Unavailable
from scripts.bench.systems.babygun import Babygun, etcd_binary

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

PAINT_MS = 300  # the first paint should come within
FRAME_MS = 500  # no frame should take longer
_EMAILS = 500
_UPDATES = 1000  # in a second
_AT_ONCE = 100  # updates of one transaction
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")

# The browser may report the paint after what was painted is there.
_PAINT = """new Promise((done) => new PerformanceObserver((list) => {
    for (const paint of list.getEntriesByName("first-contentful-paint")) done(paint.startTime);
}).observe({ type: "paint", buffered: true }))"""
_BYTES = """performance.getEntries()
    .filter((entry) => entry.transferSize)
    .reduce((sum, entry) => sum + entry.transferSize, 0)"""
_WATCH_FRAMES = """() => {
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
# After the frame that is under way.
_LONGEST = "new Promise((done) => requestAnimationFrame(() => done(longest)))"

Say = Callable[[str], None]


def add_command(commands: Any) -> argparse.ArgumentParser:
    """``page`` on the command line; ``commands``: argparse's subparsers."""
    command: argparse.ArgumentParser = commands.add_parser(
        "page", help="the page in a browser: its first paint, and frames under a flood of changes"
    )
    command.add_argument("--opens", type=int, default=10, help="openings (default: 10)")
    command.add_argument(
        "--seconds", type=float, default=10, help="how long the flood lasts (default: 10)"
    )
    return command


def command(arguments: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Does the run that the command line asks for."""
    chromium = shutil.which("chromium")
    if not chromium:
        raise Unavailable("Chromium is not installed: apt-get install chromium")
    etcd = etcd_binary(say)
    with Stage() as stage:
        on = machine.describe(stage.folder)
        # No worker: nobody delivers what the flood changes.
        babygun = Babygun(stage, stage.port(), etcd).start(workers=0)
        try:
            found = asyncio.run(_run(babygun, chromium, arguments.opens, arguments.seconds, say))
        finally:
            babygun.stop()
    versions = {"etcd": etcd.version, "chromium": machine.version(chromium, "--version")}
    return report.described(
        "page", on, {"versions": versions, **found, "problems": problems(found)}
    )


def problems(found: Mapping[str, Any]) -> list[str]:
    """What is slower than it should be, a sentence each."""
    slow = []
    if (paint := median(found["paints_ms"])) > PAINT_MS:
        slow.append(f"the first paint took {paint:.0f} ms, more than {PAINT_MS}")
    if (frame := found["longest_frame_ms"]) > FRAME_MS:
        slow.append(f"a frame took {frame:.0f} ms during the flood, more than {FRAME_MS}")
    return slow


def markdown(result: Mapping[str, Any]) -> str:
    """One row, and what is slower than it should be."""
    paints = sorted(result["paints_ms"])
    header = (
        "",
        "first paint, ms (least, most)",
        "bytes",
        "updates /s",
        "longest frame, ms",
    )
    row = (
        "the page",
        f"{median(paints):.0f} ({paints[0]:.0f}, {paints[-1]:.0f})",
        f"{result['bytes']:,}",
        f"{result['updates_rate']:,.0f}",
        f"{result['longest_frame_ms']:.0f}",
    )
    verdict = "\n".join(f"* {problem}" for problem in result["problems"]) or "All is quick enough."
    return f"{report.table(header, [row])}\n\n{verdict}\n\n{report.made_on(result)}"


async def _run(
    babygun: Babygun, chromium: str, opens: int, seconds: float, say: Say
) -> dict[str, Any]:
    async with _browser(chromium) as browser:
        paints, sizes = [], []
        for _ in range(opens):
            context = await browser.new_context()
            page = await context.new_page()
            await page.goto(f"{babygun.urls[0]}/page/emails")
            await page.locator("main h1").first.wait_for()
            paints.append(float(await page.evaluate(_PAINT)))
            sizes.append(int(await page.evaluate(_BYTES)))
            await context.close()
        say(f"first paint: {median(paints):.0f} ms, {max(sizes):,} bytes")
        async with Store(settings.load(babygun.environment())) as store:
            emails = await _emails(babygun, store)
            page = await browser.new_page()
            await _sign_in(page, babygun)
            await page.get_by_text(f"Digest {_EMAILS - 1}", exact=True).wait_for()
            await page.evaluate(_WATCH_FRAMES)
            rate = await _flood(store, emails, seconds)
            longest = float(await page.evaluate(_LONGEST))
    say(f"{rate:,.0f} updates a second: the longest frame took {longest:.0f} ms")
    return {
        "paints_ms": paints,
        "bytes": max(sizes),
        "updates_rate": rate,
        "longest_frame_ms": longest,
    }


@asynccontextmanager
async def _browser(chromium: str) -> AsyncIterator[Browser]:
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        raise Unavailable("playwright is not installed: make install") from None
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(_FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


async def _sign_in(page: Page, babygun: Babygun) -> None:
    await page.goto(f"{babygun.urls[0]}/page/emails")
    await page.get_by_label("Client id").fill(babygun.client_id)
    await page.get_by_label("Secret").fill(babygun.client_secret)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_text("Live", exact=True).wait_for()


async def _emails(babygun: Babygun, store: Store) -> list[Email]:
    """Accepts e-mails that are due in a month; returns their records."""
    due = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    mails = [
        {
            "sender": "bench@example.com",
            "to": f"reader-{number}@example.org",
            "subject": f"Digest {number}",
            "send_at": due,
        }
        for number in range(_EMAILS)
    ]
    answer = babygun.call("/emails/batch", mails)
    found = [await store.client.get(store.keys.email(each["id"])) for each in answer["results"]]
    return [codec.decode_email(kv.value) for kv in found if kv]


async def _flood(store: Store, emails: Sequence[Email], seconds: float) -> float:
    """Writes the records again and again, with another number of tries; returns the rate."""
    began, written = time.monotonic(), 0
    while (elapsed := time.monotonic() - began) < seconds:
        if (early := written / _UPDATES - elapsed) > 0:
            await asyncio.sleep(early)
        part = [emails[(written + n) % len(emails)] for n in range(_AT_ONCE)]
        tries = written // len(emails)
        changed = [msgspec.structs.replace(email, tries=tries) for email in part]
        await store.client.txn(
            Txn([], [put(store.keys.email(each.id), codec.encode_state(each)) for each in changed])
        )
        written += _AT_ONCE
    return written / (time.monotonic() - began)
