"""The records that a sending domain wants, as they are to be pasted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import msgspec
import pytest

from babygun.domains.wanted import (
    HINTS,
    Sending,
    required,
    sending_of,
    wanted_records,
    with_last_look,
    zone_line,
)
from babygun.email.sending_domains import (
    DkimAlgorithm,
    DnsRecord,
    Selector,
    SelectorState,
    SendingDomain,
    Verified,
)
from babygun.errors import SettingsError
from babygun.runtime.settings import Settings

NOW = datetime(2030, 1, 31, 8, tzinfo=UTC)
SENDING = Sending(("192.0.2.1", "2001:db8::1"), "", "_spf.relay.example", "in.example.net")


def selector(
    name: str, state: SelectorState = "signing", algorithm: DkimAlgorithm = "rsa2048"
) -> Selector:
    return Selector(name, algorithm, f"MII{name}", state, NOW)


def domain(*selectors: Selector) -> SendingDomain:
    return SendingDomain("example.com", ("shop:1",), NOW, NOW, selectors)


def by_purpose(records: tuple[DnsRecord, ...]) -> dict[str, tuple[str, str, str]]:
    return {each.purpose: (each.type, each.name, each.value) for each in records}


def test_records_of_a_domain_are_those_to_paste() -> None:
    spf = "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 include:_spf.relay.example ~all"
    wanted = wanted_records(domain(selector("s1"), selector("e1", "new", "ed25519")), SENDING)
    assert by_purpose(wanted) == {
        "dkim:s1": ("TXT", "s1._domainkey.example.com", "v=DKIM1; k=rsa; p=MIIs1"),
        "dkim:e1": ("TXT", "e1._domainkey.example.com", "v=DKIM1; k=ed25519; p=MIIe1"),
        "spf": ("TXT", "example.com", spf),
        "dmarc": ("TXT", "_dmarc.example.com", "v=DMARC1; p=none"),
        "return_path": ("MX", "bounces.example.com", "10 in.example.net"),
        "return_path_spf": ("TXT", "bounces.example.com", spf),
        "tls_rpt": (
            "TXT",
            "_smtp._tls.example.com",
            "v=TLSRPTv1; rua=mailto:postmaster@example.com",
        ),
        "mta_sts": ("TXT", "_mta-sts.example.com", "v=STSv1; id=20300131080000"),
    }
    assert {each.status for each in wanted} == {"unchecked"}


def test_records_without_any_setting_are_dkim_dmarc_and_hints() -> None:
    wanted = by_purpose(wanted_records(domain(selector("s1")), Sending()))
    assert list(wanted) == ["dkim:s1", "dmarc", *HINTS]


def test_sources_of_mail_come_from_routes_and_settings() -> None:
    mx = Settings(default="mx", source_addresses=("192.0.2.7",), smtp_hostname="out.example.net")
    assert sending_of(mx).spf_terms == ("ip4:192.0.2.7",)
    by_name = Settings(default="mx", smtp_hostname="out.example.net")
    assert sending_of(by_name).spf_terms == ("a:out.example.net",)
    behind_nat = replace(by_name, source_addresses=("10.1.2.3", "fe80::1"))
    assert sending_of(behind_nat).spf_terms == ("a:out.example.net",)
    both = replace(by_name, source_addresses=("10.1.2.3", "192.0.2.7"))
    assert sending_of(both).spf_terms == ("ip4:192.0.2.7",)
    relay = Settings(relay_url="smtp://relay.example", smtp_hostname="out.example.net")
    assert sending_of(relay).spf_terms == ()
    included = Settings(relay_url="smtp://relay.example", spf_include="_spf.relay.example")
    assert sending_of(included).spf_terms == ("include:_spf.relay.example",)


@pytest.mark.parametrize("name", ["spf_include", "bounce_hostname"])
def test_setting_that_is_no_domain_is_refused_by_name(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        sending_of(Settings(**{name: "https://in.example.net"}))


@pytest.mark.parametrize(
    ("states", "counting"),
    [
        (("new",), ["s0"]),
        (("signing", "new"), ["s0"]),
        (("old", "signing"), ["s1"]),
        (("old", "signing", "new"), ["s1"]),
    ],
)
def test_dkim_key_counts_while_it_signs_or_is_the_first(
    states: tuple[SelectorState, ...], counting: list[str]
) -> None:
    found = domain(*(selector(f"s{n}", state) for n, state in enumerate(states)))
    needed = required(found, wanted_records(found, SENDING))
    purposes = [each.purpose for each in needed]
    assert [each for each in purposes if each.startswith("dkim:")] == [
        f"dkim:{s}" for s in counting
    ]
    assert purposes[-4:] == ["spf", "dmarc", "return_path", "return_path_spf"]
    assert set(states) <= set(get_args(SelectorState))


def test_wanted_record_has_what_the_last_look_found() -> None:
    plain = domain(selector("s1"))
    dkim, *_ = wanted_records(plain, SENDING)
    looked = msgspec.structs.replace(dkim, status="wrong", sentence="p= is another key")
    joined = DnsRecord("spf", "TXT", "example.com", "v=spf1 mx ip4:192.0.2.1 ~all", "wrong")
    other = DnsRecord("return_path", "MX", "bounces.elsewhere.example", "10 x.example", "verified")
    earlier = DnsRecord("dmarc", "TXT", "_dmarc.example.com", "v=DMARC1; p=earlier", "verified")
    verified = Verified(NOW - timedelta(hours=1), "failed", (looked, joined, other, earlier))
    records = with_last_look(msgspec.structs.replace(plain, verified=verified), SENDING)
    assert records[:2] == (looked, joined)
    assert {each.status for each in records[2:]} == {"unchecked"}


def test_zone_line_cuts_long_text_into_strings() -> None:
    key = "v=DKIM1; p=" + "A" * 400
    line = zone_line(DnsRecord("dkim:s", "TXT", "s._domainkey.example.com", key))
    name, rest = line.split(" IN TXT ")
    strings = rest.split('" "')
    assert name == "s._domainkey.example.com."
    assert [len(each.strip('"')) for each in strings] == [255, 156]
    assert "".join(strings).strip('"') == key
    mx = DnsRecord("return_path", "MX", "bounces.example.com", "10 in.example.net")
    assert zone_line(mx) == "bounces.example.com. IN MX 10 in.example.net."
