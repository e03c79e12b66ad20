"""What the page needs: API, worker, mail server and etcd; and a browser."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store.emails.acceptance import accept
from babygun.store.emails.new_email import prepare
from babygun.store.records import SCOPES, Scope
from tests.support.api import RunningApi, running, until_ready
from tests.support.development import answered
from tests.support.domains import sealing
from tests.support.needs import missing
from tests.support.rig import Rig, changed, rig_for
from tests.support.smtp_server import MisbehavingServer

try:
    from playwright.async_api import Browser, Error, Page, Route, async_playwright, expect
except ImportError:
    missing("there is no playwright: make install")

__all__ = [
    "ALL",
    "PATIENCE",
    "Browser",
    "Page",
    "Route",
    "Stage",
    "browser",
    "expect",
    "many",
    "row",
    "stage_for",
    "type_at_once",
    "until",
]

CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    missing("there is no chromium: apt-get install chromium")
# The address bar's own pages would take 0.5 s of CPU for each window. Chromium heeds the last list
# alone, so what Playwright turns off stands here too.
_OFF = (
    *("WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "AimEnabled", "PreconnectToSearch"),
    *("HttpsUpgrades", "HttpsFirstBalancedModeAutoEnable", "AvoidCorsURLLoaderRestartOnRedirect"),
    *("PaintHolding", "LensOverlay", "MediaRouter", "ThirdPartyStoragePartitioning"),
    *("OptimizationHints", "NetworkTimeServiceQuerying"),
    *("AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose"),
)
_FLAGS = (
    f"--disable-features={','.join(_OFF)}",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


ALL = re.compile("^all")  # the button for every status, with its number
PATIENCE = 60  # s, for what the page does


@dataclass
class Stage:
    """``client_id``, ``secret``: of a client with all scopes."""

    api: RunningApi
    rig: Rig
    smtp: MisbehavingServer
    client_id: str
    secret: str

    async def client(self, *scopes: Scope) -> tuple[str, str]:
        """Another client: its id and secret."""
        client, secret = await self.api.client(*scopes)
        return client.id, secret

    async def bounced(self, email_id: str, address: str) -> None:
        """Waits for the e-mail's end. Its address has bounced; mail goes there again."""
        await self.rig.ended(email_id)
        answer = await self.api.call("DELETE", f"/suppressions/{address}")
        assert answer.status == 200, answer

    async def open(self, page: Page, path: str, url: str | None = None) -> None:
        """Opens a view, several times if needed.

        Chromium stops loading when any network of the machine changes, even one it doesn't use.
        """
        for seconds in (5, 10, 20, PATIENCE):
            try:
                await page.goto((url or self.api.url) + path, timeout=PATIENCE / 2 * 1000)
                await page.locator("main h1").first.wait_for(timeout=seconds * 1000)
                return
            except Error:
                continue
        raise AssertionError(f"{path} does not come up")

    async def enter(self, page: Page, client: tuple[str, str] | None = None) -> None:
        """Signs in where the page asks for it."""
        client_id, secret = client or (self.client_id, self.secret)
        await page.get_by_label("Client id").fill(client_id)
        await page.get_by_label("Secret").fill(secret)
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_role("button", name="Sign out").wait_for()

    async def sign_in(
        self, page: Page, path: str = "/page/emails", client: tuple[str, str] | None = None
    ) -> None:
        """Opens a view and signs in there."""
        await self.open(page, path)
        await self.enter(page, client)


@asynccontextmanager
async def stage_for(
    settings: Settings,
    *,
    worker: bool = True,
    retry_intervals: Sequence[float] = (600.0, 600.0),
    **changes: Any,
) -> AsyncIterator[Stage]:
    async with MisbehavingServer() as smtp:
        settings = changed(
            settings,
            relays={"main": {"url": smtp.url, "max_connections": 50}},
            retry_intervals=tuple(retry_intervals),
            smtp_hostname="babygun.test",
            etcd_timeout=30.0,  # a busy machine's etcd may need more than 5 s for many e-mails
            spf_include="_spf.relay.example",
            bounce_hostname="in.example",
            **sealing(),
            **changes,
        )
        async with (
            rig_for(settings) as rig,
            running(
                replace(settings, api_host="127.0.0.1", api_port=0, drain_timeout=2.0), rig.store
            ) as api,
        ):
            await until_ready(api)
            client, secret = await api.client(*SCOPES)
            api.token = await api.token_for(*SCOPES)
            stage = Stage(api, rig, smtp, client.id, secret)
            async with rig.worker() if worker else nullcontext():
                try:
                    yield stage
                finally:
                    smtp.release()  # else the worker would wait for whom hangs


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    expect.set_options(timeout=PATIENCE * 1000)
    async with async_playwright() as playwright:
        found = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(_FLAGS))
        try:
            yield found
        finally:
            await found.close()


async def many(stage: Stage, count: int) -> list[str]:
    """That many accepted e-mails which nobody sends, oldest first."""
    later = utc_now().replace(year=2099)
    made = [
        stage.rig.email(f"reader-{n}@example.org", subject=f"Digest {n}", send_at=later)
        for n in range(count)
    ]
    for at in range(0, count, 100):
        await asyncio.gather(
            *(
                accept(stage.rig.store, "client", prepare(stage.rig.store, email, content))
                for email, content in made[at : at + 100]
            )
        )
    return [email.id for email, _ in made]


async def until(page: Page, expression: str, wanted: object) -> None:
    """Waits until an expression of the page's scripts has this value."""
    await answered(partial(page.evaluate, expression), lambda found: found == wanted)


async def type_at_once(page: Page, keys: str) -> None:
    """Types keys that belong together, such as ``gw``.

    The page forgets the first one after 1.5 s, and a busy machine may need longer for the next.
    """
    await page.evaluate(
        """(keys) => {
            for (const key of keys) {
                const event = new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true});
                document.activeElement.dispatchEvent(event);
            }
        }""",
        keys,
    )


def row(page: Page, subject: str) -> Any:
    return page.locator(".rows li", has_text=subject)
