"""What ``babygun doctor`` says of TLS policies: of the resolver for DANE, and of one domain."""

from __future__ import annotations

from babygun.cli.finding import Finding, Level
from babygun.dns import DnsError, Resolver
from babygun.routing.domain_policies import FoundSts
from babygun.routing.routes import Routes
from babygun.routing.tls_policy import DomainPolicy, TlsPolicy
from babygun.runtime.settings import Settings
from babygun.tls_policies.fetch import FetchFailed, PolicyFetcher
from babygun.tls_policies.policies import announced_id

_SIGNED = "org"  # a zone that is signed for sure


async def check_dane_resolver(loaded: Settings) -> Finding:
    """Whether the resolver for DANE checks signatures."""
    name = f"resolver {loaded.dane_resolver}"
    try:
        answer = await Resolver([loaded.dane_resolver], trusted=True).lookup(_SIGNED, "MX")
    except DnsError as error:
        return Finding("bad", f"{name}: {error}")
    if answer.secure:
        return Finding("ok", f"{name} checks signatures: DANE is heeded")
    return Finding(
        "bad",
        f"{name} does not say that the zone {_SIGNED} is signed, so there is no DANE: let it check"
        " signatures (DNSSEC), or take dane_resolver away",
    )


def find_policies(loaded: Settings, routes: Routes) -> PolicyFetcher:
    """Lets the routes find MTA-STS policies as they are now, without etcd. Close what it returns.

    A worker may still go by an earlier policy that etcd has.
    """
    fetcher = PolicyFetcher(loaded, routes.resolver)

    async def of(domain: str) -> FoundSts:
        if not await announced_id(routes.resolver, domain):
            return FoundSts()
        try:
            return FoundSts(await fetcher.fetch(domain))
        except FetchFailed as failed:
            return FoundSts(None, failed.violation)

    routes.sts_policy_of = of
    return fetcher


def describe_demands(domain: str, policy: DomainPolicy) -> list[Finding]:
    """What a domain demands of its mail hosts."""
    found: list[Finding] = []
    for host, each in policy.hosts.items():
        found.append(Finding("ok", f"{host} must show {_words(each)}"))
        if each.violation:
            level: Level = "warn" if each.testing else "bad"
            found.append(Finding(level, f"{host} does not: {each.violation.text}"))
    if policy.sts_failure:
        found.append(Finding("warn", f"MTA-STS policy of {domain}: {policy.sts_failure.text}"))
    return found or [Finding("ok", f"{domain} demands nothing of TLS")]


def _words(policy: TlsPolicy) -> str:
    if policy.kind == "sts":
        only = ", though violations are only reported" if policy.testing else ""
        return f"a valid certificate (MTA-STS){only}"
    if not policy.tlsa:
        return "TLS (DANE)"
    return f"a certificate of its TLSA records (DANE): {'; '.join(map(str, policy.tlsa))[:200]}"
