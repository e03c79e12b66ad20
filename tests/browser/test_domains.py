"""Sending domains on the page, with a DNS that the test changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest_asyncio

from babygun.runtime.settings import Settings
from babygun.store.domains.alarms import raise_alarm
from babygun.store.domains.change import read_domain
from tests.browser.stage import Page, Stage, expect, stage_for, type_at_once, until
from tests.support.dns_servers import Zone, scripted
from tests.support.domains import dns_of

NAME = "shop.example"
# What the operator of the stage has in DNS.
HOSTS = {
    ("in.example", "A"): ["192.0.2.1"],
    ("_spf.relay.example", "TXT"): ["v=spf1 ip4:192.0.2.0/24 -all"],
}


class Dns(NamedTuple):
    stage: Stage
    zone: Zone


@pytest_asyncio.fixture(loop_scope="session")
async def with_dns(settings: Settings) -> AsyncIterator[Dns]:
    """A stage whose resolver answers from the zone."""
    zone = Zone({**HOSTS})
    async with (
        scripted(zone) as server,
        stage_for(settings, worker=False, resolvers=(server,)) as stage,
    ):
        yield Dns(stage, zone)


async def test_domain_is_made_shows_its_records_is_verified_gets_new_keys_and_is_deleted(
    page: Page, with_dns: Dns
) -> None:
    stage, zone = with_dns
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await stage.sign_in(page, "/page/domains")
    await expect(page.get_by_role("heading", name="No domains")).to_be_visible()
    await page.keyboard.press("+")
    await page.get_by_role("textbox", name="Domain").fill("no domain")
    await page.get_by_role("button", name="Create").click()
    await expect(page.get_by_role("alert")).not_to_be_empty()
    await page.get_by_role("textbox", name="Domain").fill("Shop.example")
    await page.get_by_role("button", name="Create").click()
    await expect(page.get_by_role("heading", name=NAME, level=1)).to_be_visible()
    assert page.url.endswith(f"/page/domains/{NAME}")
    standing = page.locator(".standing")
    await expect(standing).to_contain_text("pending")
    dmarc = page.locator(".records li", has_text="DMARC")
    await expect(dmarc).to_contain_text(f"_dmarc.{NAME}")
    await dmarc.get_by_role("button", name="Value of DMARC").click()
    await until(page, "navigator.clipboard.readText()", "v=DMARC1; p=none")
    await expect(page.get_by_role("group").get_by_text("As lines of")).to_be_visible()

    await page.get_by_role("button", name="Check now").click()
    await expect(dmarc).to_contain_text("missing")
    await expect(dmarc).to_contain_text("DNS has no such record")
    domain = await read_domain(stage.rig.store, NAME)
    assert domain is not None
    zone.records |= dns_of(stage.rig.store, domain)
    zone.records[f"_dmarc.{NAME}", "TXT"] = ["v=DMARC1; p=none", "v=DMARC1; p=reject"]
    await page.keyboard.press("c")
    await expect(dmarc.locator(".found")).to_have_count(2)
    await expect(standing).to_contain_text("1 record missing or wrong")
    zone.records |= dns_of(stage.rig.store, domain)
    await page.get_by_role("button", name="Check now").click()
    await expect(standing).to_contain_text("DNS has all that is needed")
    await expect(page.locator("tbody .badge")).to_have_text(["signing"])

    await page.get_by_role("button", name="New keys…").click()
    await page.get_by_role("button", name="Make them").click()
    await expect(page.locator("tbody .badge")).to_have_text(["signing", "new"])
    await complained(page, stage)
    await page.keyboard.press("u")
    await expect(page.get_by_role("row", name=NAME)).to_contain_text("verified")
    await page.get_by_role("link", name=NAME).click()
    await page.get_by_role("button", name="Delete…").click()
    await page.get_by_role("button", name="Keep it").click()
    await page.get_by_role("button", name="Delete…").click()
    await page.get_by_role("button", name="Delete", exact=True).click()
    await expect(page.get_by_role("heading", name="No domains")).to_be_visible()


async def complained(page: Page, stage: Stage) -> None:
    """A mail server's complaint stands at the domain, in the list and on the overview."""
    await raise_alarm(
        stage.rig.store,
        NAME,
        "dmarc",
        site="mx:google",
        code=550,
        enhanced_code="5.7.26",
        text="<b>no</b> DMARC",
    )
    complaint = page.get_by_role("alert").filter(has_text="550 5.7.26 <b>no</b> DMARC")
    await page.reload()
    await expect(complaint).to_contain_text("There is no DMARC policy")
    dmarc = page.locator(".records li", has_text="DMARC")
    await expect(dmarc).to_contain_text("see the complaint")
    await page.keyboard.press("u")
    await expect(page.get_by_role("row", name=NAME)).to_contain_text("mail servers complain")
    await type_at_once(page, "go")
    await expect(complaint).to_contain_text(f"{NAME}: There is no DMARC policy")
    await complaint.get_by_role("link", name=NAME).click()


async def test_client_with_the_scope_admin_gives_a_domain_to_clients_who_see_it_then(
    page: Page, with_dns: Dns
) -> None:
    stage = with_dns.stage
    body = {"name": "newsletter", "scopes": ["domains"]}
    made = (await stage.api.call("POST", "/clients", json=body)).json
    answer = await stage.api.call("POST", "/domains", json={"name": NAME})
    assert answer.status == 201, answer.text
    await stage.sign_in(page, f"/page/domains/{NAME}")
    await page.get_by_role("button", name="Clients…").click()
    await page.get_by_role("listbox").select_option("newsletter")
    await page.get_by_role("button", name="Change", exact=True).click()
    await expect(page.locator(".facts").first).to_contain_text("newsletter")
    await page.get_by_role("button", name="Sign out").click()
    await stage.enter(page, (made["id"], made["client_secret"]))
    await expect(page.get_by_role("heading", name=NAME, level=1)).to_be_visible()
    await expect(page.get_by_role("button", name="Clients…")).to_have_count(0)
    await stage.open(page, "/page/domains/other.example")
    await expect(page.get_by_role("heading", name="There is no such domain")).to_be_visible()
