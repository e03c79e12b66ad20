"""What ``babygun doctor`` says of TLS policies."""

from __future__ import annotations

from pathlib import Path

from babygun.cli.mail_checks import check_mail_hosts
from babygun.cli.tls_policy_checks import check_dane_resolver, describe_demands
from babygun.routing.tls_policy import DomainPolicy, TlsPolicy, Violation
from babygun.routing.tlsa import Tlsa
from babygun.runtime.settings import Settings
from tests.support.dns_servers import failing, scripted, serving
from tests.support.policy_host import policy_host


async def test_resolver_for_dane_must_check_signatures() -> None:
    async with serving({"org": ""}, signed=["org"]) as checking, serving({"org": ""}) as not_so:
        good = await check_dane_resolver(Settings(dane_resolver=checking))
        bad = await check_dane_resolver(Settings(dane_resolver=not_so))
    async with scripted(failing) as dead:
        silent = await check_dane_resolver(Settings(dane_resolver=dead))
    assert (good.level, good.sentence) == (
        "ok",
        f"resolver {checking} checks signatures: DANE is heeded",
    )
    assert bad.level == "bad" and "there is no DANE" in bad.sentence
    assert silent.level == "bad" and "SERVFAIL" in silent.sentence


async def test_policy_of_a_domain_is_shown(tmp_path: Path) -> None:
    async with policy_host(Settings(smtp_connect_timeout=30), tmp_path) as host:
        found = [each async for each in check_mail_hosts(host.settings, "a.example")]
        assert found[0].sentence == "a.example must show a valid certificate (MTA-STS)"
        assert (found[1].level, found[1].sentence) == (
            "bad",
            "a.example does not: no line mx of the policy names a.example",
        )
        host.policy = "nothing"
        found = [each async for each in check_mail_hosts(host.settings, "a.example")]
    assert found[0].level == "warn" and "the policy is not valid" in found[0].sentence


def test_demands_of_dane_are_shown_host_by_host() -> None:
    violation = Violation("dnssec-invalid", "the TLSA records of c can't be had: SERVFAIL")
    policy = DomainPolicy(
        {
            "a": TlsPolicy("dane", tlsa=(Tlsa(3, 1, 1, b"\xab" * 32),)),
            "b": TlsPolicy("dane"),
            "c": TlsPolicy("dane", violation=violation),
        }
    )
    assert [(each.level, each.sentence) for each in describe_demands("x.example", policy)] == [
        ("ok", f"a must show a certificate of its TLSA records (DANE): 3 1 1 {'ab' * 32}"),
        ("ok", "b must show TLS (DANE)"),
        ("ok", "c must show TLS (DANE)"),
        ("bad", "c does not: the TLSA records of c can't be had: SERVFAIL"),
    ]
