"""Makes the pictures of docs/page.md: python -m tests.browser.screenshots docs/images

Starts an etcd, an API, two workers and a mail server. Sends e-mails as a shop would for a few
minutes, and takes pictures of the views.
"""

from __future__ import annotations

import asyncio
import math
import random
import sys
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from aiohttp import web

from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store.domains.change import read_domain
from tests.browser.stage import Browser, Stage, browser, stage_for
from tests.browser.test_domains import HOSTS
from tests.browser.test_every_view import warm_up
from tests.browser.test_sites import report
from tests.support.dns_servers import Zone, scripted
from tests.support.domains import dns_of
from tests.support.etcd_server import EtcdServer
from tests.support.webhook_server import Request, WebhookServer, webhook_server

SECONDS = 100.0  # of traffic before the first picture
NAMES = (
    "ann",
    "bob",
    "carla",
    "dan",
    "eve",
    "finn",
    "gita",
    "hugo",
    "ines",
    "jon",
    "kim",
    "lea",
    "max",
    "nora",
    "omar",
    "pia",
)
SUBJECTS = (
    "Your order № {n} is on its way",
    "Welcome to the shop",
    "Invoice 2026-{n}",
    "Reset your password",
    "Your weekly digest",
    "Your order № {n} has arrived",
)
TAGS = (["order"], ["welcome"], ["invoice", "order"], ["account"], ["digest"], ["order"])
HTML = (
    "<div style='font-family: sans-serif; max-width: 32em; margin: 2em auto'>"
    "<h1 style='color: #0b6e4f'>On its way</h1>"
    "<p>Hello Ann, your order <b>№ 4711</b> has left our house."
    "<p><a href='https://shop.example.com/orders/4711' style='background: #0b6e4f; color: white;"
    " padding: .6em 1.2em; border-radius: 6px; text-decoration: none'>Follow it</a>"
    "<p>Your shop</div>"
)


async def send(stage: Stage, n: int) -> str:
    kind = random.randrange(len(SUBJECTS))
    trouble = random.random()
    local = (
        f"{'hard-' if trouble < 0.03 else 'soft-' if trouble < 0.07 else ''}{random.choice(NAMES)}"
    )
    to = [f"{local}@{random.choice(('example.org', 'example.net', 'mail.example.com'))}"]
    return await stage.api.accepted(
        sender="Shop <shop@example.com>",
        to=to,
        subject=SUBJECTS[kind].format(n=4700 + n),
        tags=TAGS[kind],
    )


async def traffic(stage: Stage) -> None:
    """Sends e-mails at a rate that goes up and down."""
    started, n = asyncio.get_running_loop().time(), 0
    while (past := asyncio.get_running_loop().time() - started) < SECONDS:
        rate = 24 + 16 * math.sin(past / 23) + 6 * math.sin(past / 7) + random.uniform(-4, 4)
        await asyncio.gather(*(send(stage, n + k) for k in range(max(1, round(rate / 2)))))
        n += 1
        await asyncio.sleep(0.5)


async def overloaded(request: Request) -> web.Response:
    return web.Response(status=503, text="try again later")


async def webhooks(stage: Stage, good: WebhookServer, bad: WebhookServer) -> str:
    """One that answers, one that does not, one that is disabled; the path of the second."""
    bad.answer = overloaded
    made = []
    for url, description, events in (
        (good.url, "orders", ["*"]),
        (bad.url, "bounces, for the address book", ["bounced", "expired", "suppressed"]),
        ("https://crm.example.com/mail", "the old CRM", ["*"]),
    ):
        body = {"url": url, "description": description, "events": events}
        answer = await stage.api.call("POST", "/webhooks", json=body)
        assert answer.status == 201, answer
        made.append(answer.json)
    answer = await stage.api.call("PATCH", f"/webhooks/{made[2]['id']}", json={"enabled": False})
    assert answer.status == 200, answer
    good.secret, bad.secret = made[0]["secret"], made[1]["secret"]
    return f"/page/webhooks/{made[1]['id']}"


async def domain(stage: Stage, zone: Zone) -> str:
    """A domain whose DNS has all that it needs but one record; the path of its view."""
    answer = await stage.api.call("POST", "/domains", json={"name": "shop.example"})
    assert answer.status == 201, answer
    made = await read_domain(stage.rig.store, "shop.example")
    assert made is not None
    zone.records |= dns_of(stage.rig.store, made)
    del zone.records["_dmarc.shop.example", "TXT"]
    answer = await stage.api.call("POST", "/domains/shop.example/verify")
    assert answer.status == 200, answer
    return "/page/domains/shop.example"


async def photograph(found: Browser, stage: Stage, folder: Path, webhook: str, zone: Zone) -> None:
    order: dict[str, Any] = {
        "sender": "Shop <shop@example.com>",
        "cc": "accounts@example.com",
        "subject": "Your order № 4711 is on its way",
        "body": "Hello Ann, your order № 4711 has left our house.\n",
        "html": HTML,
        "tags": ["order"],
        "metadata": {"order": "4711"},
    }
    mixed = await stage.api.accepted(
        to=["ann@example.org", "soft-bob@example.net", "hard-carla@example.org"], **order
    )
    await stage.rig.logged(mixed, "deferred")
    await stage.api.accepted(
        to="hang-dan@example.org", subject="Your order № 4712 is on its way", tags=["order"]
    )
    for address, reason, kind in (
        ("ann@example.org", "unsubscribe", "news"),
        ("zoe@example.net", "complaint", "*"),
        ("info@example.com", "manual", "*"),
    ):
        body = {"email": address, "reason": reason, "list": kind}
        answer = await stage.api.call("POST", "/suppressions", json=body)
        assert answer.status == 201, answer
    for hours, n in ((1, 31), (6, 32), (30, 33), (70, 34)):
        due = (utc_now() + timedelta(hours=hours)).isoformat()
        await stage.api.accepted(
            sender="Shop <shop@example.com>",
            to=f"{NAMES[n % 16]}@example.org",
            subject=f"Your invoice 2026-{n} is due",
            tags=["invoice"],
            send_at=due,
        )
    for name, scopes, limits in (
        ("shop", ("emails:send", "emails:read"), {"rate": 20, "recipients_per_day": 50_000}),
        ("newsletter", ("emails:send",), {"weight": 3}),
        ("status board", ("workers:read",), {}),
    ):
        body = {"name": name, "scopes": scopes, **limits}
        answer = await stage.api.call("POST", "/clients", json=body)
        assert answer.status == 201, answer
    for name, path, size, scheme in (
        ("overview", "/page/overview?range=5m", (1280, 800), "light"),
        ("emails", "/page/emails", (1280, 720), "light"),
        ("emails-dark", "/page/emails?status=failed", (1280, 720), "dark"),
        ("email", f"/page/emails/{mixed}", (1280, 960), "light"),
        ("compose", "/page/compose", (1280, 800), "light"),
        ("phone", "/page/emails", (390, 780), "light"),
        ("schedule", "/page/schedule", (1280, 640), "light"),
        ("workers", "/page/workers", (1280, 560), "light"),
        ("domain", await domain(stage, zone), (1280, 960), "light"),
        ("webhooks", "/page/webhooks", (1280, 480), "light"),
        ("webhook", webhook, (1280, 800), "light"),
        ("suppressions", "/page/suppressions", (1280, 560), "light"),
        ("clients", "/page/clients", (1280, 640), "light"),
        ("privacy", "/page/privacy", (1280, 640), "light"),
        ("audit", "/page/audit", (1280, 640), "light"),
        ("warm-ups", "/page/warm-ups", (1280, 640), "light"),
        ("sign-in", "/page/emails", (1280, 560), "light"),
    ):
        await take(found, stage, folder, name, path, size, scheme)


async def take(
    found: Browser,
    stage: Stage,
    folder: Path,
    name: str,
    path: str,
    size: tuple[int, int],
    scheme: Any,
) -> None:
    """Takes one picture."""
    context = await found.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        is_mobile=size[0] < 500,
    )
    page = await context.new_page()
    await (stage.open if name == "sign-in" else stage.sign_in)(page, path)
    if name == "compose":
        await page.get_by_label("To several").fill('"Doe, Ann" <ann@example.org>, bob@example.net')
    if name == "privacy":
        await page.get_by_label("Address").fill("bob@example.net")
        await page.keyboard.press("Enter")
    await page.mouse.move(0, 0)
    await asyncio.sleep(3)
    await page.screenshot(path=folder / f"page-{name}.png")
    await context.close()


async def photograph_sites(found: Browser, settings: Settings, folder: Path) -> None:
    """The sites of a stack whose mail goes straight to its domains."""
    settings = replace(settings, prefix="/straight/")
    async with stage_for(settings, worker=False, default="mx") as stage:
        await report(stage)
        await stage.api.call(
            "POST",
            "/sites/mx:google/limits",
            json={"connections": 2, "rate": "20/min", "lasts": "1d", "reason": "new address"},
        )
        await take(found, stage, folder, "sites", "/page/sites", (1280, 640), "light")


async def main(folder: Path) -> None:
    random.seed(7)
    with EtcdServer(fsync=False) as etcd:
        settings = Settings(etcd_endpoints=(etcd.endpoint,), require_domains=False)
        async with browser() as found:
            await photograph_sites(found, settings, folder)
            zone = Zone({**HOSTS})
            own: dict[str, Any] = {
                "warm_up": "both",
                "webhook_allow_http": True,
                "webhook_allow_networks": (ip_network("127.0.0.0/8"),),
            }
            async with (
                webhook_server() as good,
                webhook_server() as bad,
                scripted(zone) as server,
                stage_for(settings, worker=False, resolvers=(server,), **own) as stage,
                stage.rig.worker_process(),
                stage.rig.worker_process(),
            ):
                webhook = await webhooks(stage, good, bad)
                await warm_up(stage.rig.store, "shop.example")
                await traffic(stage)
                try:
                    await photograph(found, stage, folder, webhook, zone)
                finally:
                    stage.smtp.release()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
