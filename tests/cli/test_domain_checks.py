"""``babygun doctor domain``, with etcd and without."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import NamedTuple

import pytest

from babygun.cli.domain_checks import check_bounce_host, check_sealing_key, check_tls_reports
from babygun.store import Store
from babygun.store.domains.alarms import raise_alarm
from tests.support.commands import Command
from tests.support.dns_servers import Zone, scripted
from tests.support.domains import dns_of, made_domain, sealing
from tests.support.rig import Rig, changed, rig_for
from tests.support.smtp_server import MisbehavingServer

NAME = "shop.example"


class Installation(NamedTuple):
    rig: Rig
    zone: Zone
    babygun: Command


@pytest.fixture
async def there(rig: Rig, babygun: Command, smtp: MisbehavingServer) -> AsyncIterator[Installation]:
    """An installation that sends straight to mail hosts, from a machine with a name and a PTR."""
    zone = Zone(
        {
            (NAME, "MX"): ["10 mx.example."],
            ("mx.example", "A"): ["127.0.0.1"],
            ("out.example", "A"): ["127.0.0.1"],
            ("1.0.0.127.in-addr.arpa", "PTR"): ["out.example."],
        }
    )
    async with scripted(zone) as server:
        settings = changed(
            rig.settings,
            relays={},
            default="mx",
            resolvers=(server,),
            smtp_hostname="out.example",
            bounce_hostname="out.example",
            mx_port=smtp.port,
            allow_networks=(ip_network("127.0.0.0/8"),),
            **sealing(),
        )
        async with rig_for(settings) as own:
            yield Installation(own, zone, Command(settings, babygun.folder))


async def test_doctor_finds_a_domain_whose_records_are_right_ready(there: Installation) -> None:
    rig, zone, babygun = there
    domain = await made_domain(rig.store, NAME)
    zone.records |= dns_of(rig.store, domain)
    found = await babygun("doctor", "domain", NAME)
    assert found.status == 0, found.out
    lines = [line.partition("  ")[2].strip() for line in found.out.splitlines()]
    selector = domain.selectors[0].name
    for words in (
        "127.0.0.1 points at out.example (PTR), and that name back",
        f"dkim:{selector}: TXT of {selector}._domainkey.{NAME}",
        f"spf: TXT of {NAME}: it takes 1 of 10 look-ups",
        f"dmarc: TXT of _dmarc.{NAME}: it asks for reports only",
        f"return_path: MX of bounces.{NAME}",
        "out.example[127.0.0.1]:",
        "mail host mx.example[127.0.0.1]:",
    ):
        assert any(line.startswith(words) for line in lines), (words, found.out)


async def test_doctor_says_of_each_wrong_record_what_is_wanted(there: Installation) -> None:
    rig, zone, babygun = there
    domain = await made_domain(rig.store, NAME)
    zone.records |= dns_of(rig.store, domain)
    zone.records[NAME, "TXT"] = ["v=spf1 mx:elsewhere.example -all"]
    del zone.records[f"_dmarc.{NAME}", "TXT"]
    reply = {"site": "mx:google", "code": 421, "enhanced_code": "4.7.27", "text": "SPF failed"}
    await raise_alarm(rig.store, NAME, "spf", **reply)
    found = await babygun("doctor", "domain", NAME)
    assert found.status == 1
    alarm, spf, dmarc = [line for line in found.out.splitlines() if line.startswith("BAD")]
    assert "mx:google says so: 421 4.7.27 SPF failed. SPF does not allow our address" in alarm
    assert "mail from 127.0.0.1 gets fail" in spf
    assert spf.endswith("Wanted: v=spf1 mx:elsewhere.example a:out.example -all")
    assert dmarc.endswith("Wanted: v=DMARC1; p=none")


async def test_doctor_looks_at_a_domain_without_etcd_and_at_a_selector_by_name(
    there: Installation,
) -> None:
    _, zone, babygun = there
    zone.records |= {
        (NAME, "TXT"): ["v=spf1 a:out.example -all"],
        (f"_dmarc.{NAME}", "TXT"): ["v=DMARC1; p=reject"],
        (f"relay._domainkey.{NAME}", "TXT"): ["v=DKIM1; p=MIIB"],
        (f"gone._domainkey.{NAME}", "TXT"): ["v=DKIM1; p="],
    }
    away = changed(
        babygun.settings,
        etcd_endpoints=("http://127.0.0.1:1",),
        etcd_timeout=0.5,
        bounce_hostname="",
    )
    command = Command(away, babygun.folder)
    found = await command("doctor", "domain", NAME, "--selector", "relay")
    assert found.status == 0, found.out
    assert "WARN  etcd can't be read, so the DKIM keys of shop.example are not known" in found.out
    assert f"ok    dkim:relay: TXT of relay._domainkey.{NAME}\n" in found.out
    revoked = await command("doctor", "domain", NAME, "--selector", "gone")
    assert revoked.status == 1 and "p= is empty: that revokes the key" in revoked.out


async def test_doctor_warns_where_it_can_not_try_the_port_as_the_mail_host_is_this_one(
    there: Installation,
) -> None:
    _, zone, babygun = there
    zone.records[NAME, "MX"] = ["10 out.example."]
    found = await babygun("doctor", "domain", NAME)
    assert f"WARN  mail hosts of {NAME}: the mail of {NAME} would come back" in found.out


async def test_doctor_says_that_nobody_listens_for_bounces(there: Installation) -> None:
    _, zone, babygun = there
    zone.records["in.example", "A"] = ["127.0.0.9"]
    settings = changed(babygun.settings, bounce_hostname="in.example", mx_port=1)
    found = await Command(settings, babygun.folder)("doctor", "domain", NAME)
    assert "BAD   bounce messages can't come to in.example[127.0.0.9]:1" in found.out
    assert f"WARN  {NAME} is no sending domain yet: babygun domains create {NAME}" in found.out


async def test_doctor_says_that_the_bounce_host_has_no_address(there: Installation) -> None:
    _, zone, _ = there
    settings = there.rig.settings
    assert [each async for each in check_bounce_host(settings)] == []
    del zone.records["out.example", "A"]
    [found] = [each async for each in check_bounce_host(settings)]
    assert found.level == "bad" and "bounce host out.example has no address" in found.sentence
    without = changed(settings, bounce_hostname="")
    assert [each async for each in check_bounce_host(without)] == []


async def test_doctor_says_that_the_sealing_key_is_missing(rig: Rig) -> None:
    async def found(**fields: object) -> list[tuple[str, str]]:
        async with Store(changed(rig.settings, **fields)) as store:
            return [(each.level, each.sentence) async for each in check_sealing_key(store)]

    assert await found() == []
    [(level, sentence)] = await found(require_domains=True)
    assert level == "warn" and "no sending domain can be made" in sentence
    key = sealing()
    async with Store(changed(rig.settings, **key)) as store:
        domain = await made_domain(store, NAME)
    assert await found(**key) == [("ok", "all DKIM keys can be opened")]
    for other in ({}, sealing()):
        [(level, sentence)] = await found(**other)
        assert level == "bad" and f"{NAME}/{domain.selectors[0].name}" in sentence


async def test_doctor_says_that_tls_reports_can_not_be_signed(there: Installation) -> None:
    async def found(**fields: object) -> list[str]:
        on = {"tls_reports": True, "tls_report_sender": f"tls@news.{NAME}"}
        async with Store(changed(there.rig.settings, **(on | fields))) as store:
            return [each.level async for each in check_tls_reports(store)]

    assert await found(tls_reports=False) == []
    assert await found() == ["bad"]
    await made_domain(there.rig.store, NAME)
    assert await found() == ["ok"]
    assert await found(default="", relays={"main": {"url": "smtp://127.0.0.1"}}) == ["warn", "ok"]


@pytest.mark.parametrize("name", ["example", "a..b", "http://shop.example"])
async def test_doctor_refuses_what_is_no_domain(babygun: Command, name: str) -> None:
    found = await babygun("doctor", "domain", name)
    assert found.status == 2 and name in found.error
