"""What is found out about each record of a domain, over a real DNS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
import pytest
import pytest_asyncio

from babygun.dns import Resolver
from babygun.domains.verify import Checked, check, status_of
from babygun.domains.wanted import Sending
from babygun.email.sending_domains import (
    DnsRecord,
    DomainStatus,
    RecordStatus,
    Selector,
    SendingDomain,
    Verified,
)
from tests.support.dns_servers import failing, scripted, serving
from tests.support.processes import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOW = datetime(2030, 1, 31, 8, tzinfo=UTC)
KEY = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA" + "x" * 340 + "IDAQAB"
SHORT = "MCowBQYDK2VwAyEA" + "y" * 27 + "="
SENDING = Sending(("192.0.2.1", "2001:db8::1"), "", "", "in.test")
TERMS = "ip4:192.0.2.1 ip6:2001:db8::1"
WANTED = f"v=spf1 {TERMS} ~all"


def strings(text: str) -> str:
    """A value as it stands in a zone file."""
    return " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))


def dkim(text: str) -> str:
    return f"s1._domainkey.{{}} TXT {strings(text)}\n"


GOOD = {
    "dkim:s1": dkim(f"v=DKIM1; k=rsa; p={KEY}"),
    "spf": f'{{}} TXT "{WANTED}"\n',
    "dmarc": '_dmarc.{} TXT "v=DMARC1; p=reject; rua=mailto:d@example.com"\n',
    "return_path": "bounces.{} MX 10 in.test.\n",
    "return_path_spf": f'bounces.{{}} TXT "{WANTED}"\n',
}

DMARC_NONE = '_dmarc.{} TXT "v=DMARC1; p=none"\n'

# A name, the record that is not good, what stands in its place, the status, words of the sentence.
CASES: list[tuple[str, str, str, RecordStatus, str]] = [
    ("good", "dkim:s1", GOOD["dkim:s1"], "verified", ""),
    ("nothing", "dkim:s1", "", "missing", "can take an hour"),
    ("spaces", "dkim:s1", dkim(f"v=DKIM1;k=rsa;p={KEY[:250]} {KEY[250:]}"), "verified", ""),
    ("plain", "dkim:s1", dkim(f"p={KEY}"), "verified", ""),
    ("testing", "dkim:s1", dkim(f"v=DKIM1; t=y:s; p={KEY}"), "verified", "only tests"),
    ("alias", "dkim:s1", "s1._domainkey.{} CNAME key.test.\n", "verified", ""),
    ("dangling", "dkim:s1", "s1._domainkey.{} CNAME gone.test.\n", "wrong", "CNAME of gone.test"),
    ("revoked", "dkim:s1", dkim("v=DKIM1; k=rsa; p="), "wrong", "revokes"),
    ("other", "dkim:s1", dkim(f"v=DKIM1; k=rsa; p={KEY[:-9]}AAAIDAQAB"), "wrong", "another key"),
    ("cut", "dkim:s1", dkim(f"v=DKIM1; k=rsa; p={KEY}"[:255]), "wrong", "the key is cut"),
    ("kind", "dkim:s1", dkim(f"v=DKIM1; k=ed25519; p={SHORT}"), "wrong", "k= has to be rsa"),
    ("hash", "dkim:s1", dkim(f"v=DKIM1; h=sha1; p={KEY}"), "wrong", "sha256"),
    ("service", "dkim:s1", dkim(f"v=DKIM1; s=tlsrpt; p={KEY}"), "wrong", "allow email"),
    ("version", "dkim:s1", dkim(f"k=rsa; v=DKIM1; p={KEY}"), "wrong", "come first"),
    ("commas", "dkim:s1", dkim(f"v=DKIM1, k=rsa, p={KEY}"), "wrong", "semicolon"),
    ("several", "dkim:s1", GOOD["dkim:s1"] + dkim("v=DKIM1; p="), "wrong", "2 TXT records"),
    (
        "quoted",
        "dkim:s1",
        f's1._domainkey.{{}} TXT "\\"v=DKIM1; k=rsa; p={KEY[:200]}\\" \\"" "{KEY[200:]}\\""\n',
        "wrong",
        "quotation marks",
    ),
    (
        "doubled",
        "dkim:s1",
        f"s1._domainkey.{{}}.test.{{}} TXT {strings(f'v=DKIM1; k=rsa; p={KEY}')}\n",
        "wrong",
        "Enter the name s1._domainkey there",
    ),
    ("nospf", "spf", '{} TXT "other"\n', "missing", "no such record at nospf.test"),
    ("twospf", "spf", f'{{}} TXT "{WANTED}"\n{{}} TXT "v=spf1 -all"\n', "wrong", "join them"),
    ("others", "spf", '{} TXT "v=spf1 include:_spf.test -all"\n', "wrong", "192.0.2.1 gets fail"),
    ("half", "spf", '{} TXT "v=spf1 ip4:192.0.2.1 ~all"\n', "wrong", "2001:db8::1 gets softfail"),
    ("included", "spf", '{} TXT "v=spf1 include:_ours.test -all"\n', "verified", "1 of 10"),
    ("everybody", "spf", f'{{}} TXT "v=spf1 {TERMS} +all"\n', "wrong", "lets everybody send"),
    ("typo", "spf", f'{{}} TXT "v=spf1 {TERMS} ipv4:192.0.2.9 ~all"\n', "wrong", "ipv4:192.0.2.9"),
    (
        "late",
        "spf",
        f'{{}} TXT "v=spf1 {TERMS} include:_ten.test include:_ours.test ~all"\n',
        "verified",
        "our mail passes, but the rest of the record fails",
    ),
    (
        "tenth",
        "spf",
        f'{{}} TXT "v=spf1 include:_ten.test {TERMS} ~all"\n',
        "wrong",
        "more than 10 look-ups",
    ),
    ("nodmarc", "dmarc", "", "missing", "no such record at _dmarc.nodmarc.test"),
    ("reports", "dmarc", DMARC_NONE, "verified", "p=quarantine"),
    ("twodmarc", "dmarc", GOOD["dmarc"] + DMARC_NONE, "wrong", "none counts"),
    ("nopolicy", "dmarc", '_dmarc.{} TXT "v=DMARC1; pct=5"\n', "wrong", "no p=none"),
    ("unlike", "dmarc", '_dmarc.{} TXT "v=DMARC 1; p=none"\n', "wrong", "begin with v=DMARC1"),
    ("mail.above", "dmarc", "", "verified", "the record of above.test counts"),
    ("strict", "dmarc", '_dmarc.{} TXT "v=DMARC1; p=reject; adkim=s"\n', "verified", "adkim=s"),
    ("nomx", "return_path", "", "missing", "bounces can't come back"),
    ("theirs", "return_path", "bounces.{} MX 10 mx.test.\n", "wrong", "bounces go to mx.test"),
    (
        "shared",
        "return_path",
        GOOD["return_path"] + "bounces.{} MX 20 mx.test.\n",
        "wrong",
        "mx.test",
    ),
    ("null", "return_path", "bounces.{} MX 0 .\n", "wrong", "bounces go to nobody"),
    ("address", "return_path", "bounces.{} A 192.0.2.25\n", "verified", "address of in.test"),
    ("elsewhere", "return_path", "bounces.{} A 192.0.2.99\n", "wrong", "not of in.test"),
    ("backspf", "return_path_spf", "", "missing", "no such record at bounces.backspf.test"),
]
SHARED = f"""
in          A 192.0.2.25
key         TXT {strings(f"v=DKIM1; k=rsa; p={KEY}")}
_spf        TXT "v=spf1 ip4:198.51.100.0/24 -all"
_ours       TXT "v=spf1 {TERMS} -all"
_ten        TXT "v=spf1 {"a:in.test " * 10} -all"
_dmarc.above TXT "v=DMARC1; p=none; sp=reject"
_smtp._tls.good TXT "v=TLSRPTv1; rua=mailto:t@example.com"
"""


def zone() -> str:
    text = SHARED
    for name, purpose, in_place, _, _ in CASES:
        for each, good in GOOD.items():
            text += (in_place if each == purpose else good).replace("{}", name)
    return text


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def resolver() -> AsyncIterator[Resolver]:
    async with serving({"test": zone()}) as server:
        yield Resolver([server], timeout=PATIENCE)


def domain(name: str, *selectors: Selector) -> SendingDomain:
    one = Selector("s1", "rsa2048", KEY, "new", NOW)
    return SendingDomain(f"{name}.test", ("shop:1",), NOW, NOW, selectors or (one,))


async def look(resolver: Resolver, name: str) -> tuple[Checked, dict[str, DnsRecord]]:
    checked = await check(resolver, domain(name), SENDING)
    return checked, {each.purpose: each for each in checked.records}


@pytest.mark.parametrize(
    ("name", "purpose", "status", "words"),
    [(name, purpose, status, words) for name, purpose, _, status, words in CASES],
    ids=[name for name, *_ in CASES],
)
async def test_record_is_judged_with_a_sentence(
    resolver: Resolver, name: str, purpose: str, status: RecordStatus, words: str
) -> None:
    checked, records = await look(resolver, name)
    record = records[purpose]
    assert (record.status, words in record.sentence) == (status, True), record
    assert bool(record.found) == (status != "missing")
    others = {each.status for each in checked.records if each.purpose in GOOD.keys() - {purpose}}
    assert others == {"verified"}, checked.records
    of_domain = {"verified": "verified", "missing": "pending", "wrong": "failed"}
    assert checked.status == of_domain[status]
    assert checked.seen == ({"s1"} if records["dkim:s1"].status == "verified" else set())


async def test_hint_that_is_followed_is_verified_and_one_that_is_not_does_not_count(
    resolver: Resolver,
) -> None:
    checked, records = await look(resolver, "good")
    assert (records["tls_rpt"].status, records["mta_sts"].status) == ("verified", "optional")
    assert checked.status == "verified"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("others", f"v=spf1 include:_spf.test {TERMS} -all"),
        ("half", "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 ~all"),
        ("everybody", f"v=spf1 {TERMS} ~all"),
        ("nospf", WANTED),
        ("included", "v=spf1 include:_ours.test -all"),
    ],
)
async def test_wanted_spf_record_keeps_what_is_there(
    resolver: Resolver, name: str, value: str
) -> None:
    _, records = await look(resolver, name)
    assert records["spf"].value == value


async def test_relay_has_to_be_included(resolver: Resolver) -> None:
    relay = Sending(spf_include="_ours.test")
    for name, status in (("included", "verified"), ("late", "wrong"), ("others", "wrong")):
        checked = await check(resolver, domain(name), relay)
        spf = next(each for each in checked.records if each.purpose == "spf")
        assert spf.status == status, spf
    assert "does not include _ours.test" in spf.sentence


async def test_host_without_a_set_address_has_to_pass_by_its_addresses_in_dns(
    resolver: Resolver,
) -> None:
    by_name = Sending(hostname="in.test")
    for name, status in (("good", "wrong"), ("tenth", "verified")):
        checked = await check(resolver, domain(name), by_name)
        spf = next(each for each in checked.records if each.purpose == "spf")
        assert spf.status == status, spf


async def test_return_path_to_a_host_without_address_is_wrong(resolver: Resolver) -> None:
    checked = await check(resolver, domain("theirs"), SENDING._replace(bounce_hostname="mx.test"))
    record = next(each for each in checked.records if each.purpose == "return_path")
    assert record.status == "wrong" and "mx.test has no address in DNS" in record.sentence


async def test_new_key_beside_one_that_signs_does_not_count(resolver: Resolver) -> None:
    signing = Selector("s1", "rsa2048", KEY, "signing", NOW, signing_since=NOW)
    new = Selector("s2", "rsa2048", "MIIx", "new", NOW)
    checked = await check(resolver, domain("good", signing, new), SENDING)
    assert [each.status for each in checked.records[:2]] == ["verified", "missing"]
    assert (checked.status, checked.seen) == ("verified", {"s1"})


async def test_dns_that_does_not_answer_leaves_what_was_known(resolver: Resolver) -> None:
    before = await check(resolver, domain("good"), SENDING)
    known = msgspec.structs.replace(
        domain("good"), verified=Verified(NOW, "verified", before.records)
    )
    async with scripted(failing) as server:
        silent = Resolver([server])
        unknown = await check(silent, domain("good"), SENDING)
        after = await check(silent, known, SENDING)
    assert {each.status for each in unknown.records} == {"unknown"}
    assert (unknown.status, unknown.seen) == ("pending", set())
    assert after.status == "verified" and after.seen == {"s1"}
    assert "the last look got no answer" in after.records[0].sentence
    assert "SERVFAIL" in after.records[0].sentence


@pytest.mark.parametrize(
    ("statuses", "before", "after"),
    [
        (("verified", "verified"), "pending", "verified"),
        (("verified", "missing"), "pending", "pending"),
        (("verified", "missing"), "verified", "failed"),
        (("verified", "missing"), "failed", "failed"),
        (("wrong", "missing"), "pending", "failed"),
        (("verified", "unknown"), "pending", "pending"),
        (("verified", "unknown"), "verified", "verified"),
        (("missing", "unknown"), "verified", "failed"),
    ],
)
async def test_status_of_a_domain_follows_from_its_required_records(
    statuses: tuple[RecordStatus, RecordStatus], before: DomainStatus, after: DomainStatus
) -> None:
    looked = msgspec.structs.replace(domain("good"), verified=Verified(NOW, before))
    records = (
        DnsRecord("dkim:s1", "TXT", "s1._domainkey.good.test", "p=", statuses[0]),
        DnsRecord("dmarc", "TXT", "_dmarc.good.test", "v=DMARC1", statuses[1]),
        DnsRecord("tls_rpt", "TXT", "_smtp._tls.good.test", "v=TLSRPTv1", "optional"),
    )
    assert status_of(looked, records) == after
