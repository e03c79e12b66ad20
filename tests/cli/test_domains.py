"""``babygun domains``, against a real API and a DNS that a test changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from babygun.pki.sealing import new_key
from babygun.store.access.clients import create_client
from babygun.store.domains.alarms import raise_alarm
from babygun.store.domains.change import read_domain
from tests.cli.conftest import commands_with_api
from tests.support.commands import Command
from tests.support.dns_servers import Zone, scripted
from tests.support.domains import dns_of, made_domain, sealing
from tests.support.processes import PATIENCE
from tests.support.rig import Rig, changed, rig_for

NAME = "shop.example"


@pytest.fixture
async def with_dns(rig: Rig, tmp_path: Path) -> AsyncIterator[tuple[Command, Rig, Zone]]:
    """Commands that know an API whose resolver answers from the zone."""
    zone = Zone({})
    async with scripted(zone) as server:
        settings = changed(
            rig.settings,
            resolvers=(server,),
            spf_include="_spf.relay.example",
            bounce_hostname="in.example",
            **sealing(),
        )
        async with rig_for(settings) as own, commands_with_api(own, tmp_path) as command:
            yield command, own, zone


async def test_domain_is_made_shown_verified_rotated_and_deleted(
    with_dns: tuple[Command, Rig, Zone],
) -> None:
    babygun, rig, zone = with_dns
    none = await babygun("domains", "list")
    assert (none.status, none.out) == (0, "no sending domains yet: babygun domains create DOMAIN\n")
    made = await babygun("domains", "create", "Shop.example", "--ed25519")
    assert made.status == 0, made.error
    rows = [line.split() for line in made.out.splitlines()]
    assert ["status", "pending"] in rows
    selectors = [row[0].partition(":")[2] for row in rows if row and row[0].startswith("dkim:")]
    assert len(selectors) == 2
    assert "v=spf1 include:_spf.relay.example ~all" in made.out
    lines = (await babygun("domains", "show", NAME, "--zone")).out.splitlines()
    assert lines[0].startswith(f'{selectors[0]}._domainkey.{NAME}. IN TXT "v=DKIM1; k=rsa; p=MII')
    assert f"bounces.{NAME}. IN MX 10 in.example." in lines

    missing = await babygun("domains", "verify", NAME)
    assert missing.status == 1
    assert f"dmarc: DNS has no such record at _dmarc.{NAME} yet." in missing.out
    domain = await read_domain(rig.store, NAME)
    assert domain
    zone.records |= dns_of(rig.store, domain)
    zone.records |= {
        ("in.example", "A"): ["192.0.2.25"],
        ("_spf.relay.example", "TXT"): ["v=spf1 ip4:198.51.100.0/24 -all"],
    }
    verified = await babygun("domains", "verify", NAME, "--json")
    assert verified.status == 0, verified.out
    assert json.loads(verified.out)["status"] == "verified"
    listed = (await babygun("domains", "list")).out.splitlines()
    assert listed[1].split()[:2] == [NAME, "verified"]

    reply = {"site": "mx:google", "code": 421, "enhanced_code": "4.7.27", "text": "no\x1b[31m SPF"}
    await raise_alarm(rig.store, NAME, "spf", **reply)
    async with asyncio.timeout(PATIENCE):  # the API follows etcd
        while "spf" not in (await babygun("domains", "list")).out:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    shown = (await babygun("domains", "show", NAME)).out
    assert "mx:google refuses its mail: SPF does not allow our address." in shown
    assert ": 421 4.7.27 no [31m SPF" in shown

    rotated = await babygun("domains", "rotate", NAME)
    assert rotated.out.count("dkim:") == 4
    zone.records[f"_dmarc.{NAME}", "TXT"] = ["v=DMARC1; p=no\x1b[31m"]
    wrong = await babygun("domains", "verify", NAME)
    assert wrong.status == 1 and "  found: v=DMARC1; p=no?[31m" in wrong.out
    assert (await babygun("domains", "delete", NAME)).status == 0
    gone = await babygun("domains", "show", NAME)
    assert gone.status == 1 and "no such domain" in gone.error


async def test_domain_is_given_to_other_clients(with_dns: tuple[Command, Rig, Zone]) -> None:
    babygun, rig, _ = with_dns
    shop, _ = await create_client(rig.store, name="shop", scopes=("domains",))
    news, _ = await create_client(rig.store, name="news", scopes=("domains",))
    made = await babygun("domains", "create", NAME, "--client", shop.id)
    assert ["clients", shop.id] in [line.split() for line in made.out.splitlines()]
    given = await babygun("domains", "give", NAME, shop.id, news.id)
    assert f"{shop.id}, {news.id}" in given.out
    of_news = json.loads((await babygun("domains", "list", "--client", news.id, "--json")).out)
    assert [one["name"] for one in of_news["domains"]] == [NAME]
    unknown = await babygun("domains", "give", NAME, "nobody")
    assert unknown.status == 1


async def test_reseal_seals_all_keys_with_the_first_key_of_the_settings(
    rig: Rig, babygun: Command
) -> None:
    old, new = new_key(), new_key()
    async with rig_for(changed(rig.settings, secrets_keys=(old,))) as own:
        await made_domain(own.store, NAME)

    async def reseal(*keys: str) -> tuple[int, str]:
        command = Command(changed(rig.settings, secrets_keys=keys), babygun.folder)
        done = await command("domains", "reseal")
        return done.status, done.out

    assert await reseal(new, old) == (0, "1 DKIM key, 1 sealed again\n")
    assert await reseal(new) == (0, "1 DKIM key, 0 sealed again\n")
    assert await reseal(old) == (1, "1 DKIM key, 0 sealed again\n")
