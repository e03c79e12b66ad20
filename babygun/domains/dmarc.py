"""The DMARC policy of a domain: its own, or that of a domain above it (RFC 7489, 6)."""

from __future__ import annotations

import re

from babygun.dns import Resolver
from babygun.domains.tags import parse_tags
from babygun.domains.texts import judged, missing, texts
from babygun.email.sending_domains import DnsRecord, name_and_parents

_POLICIES = {"none", "quarantine", "reject"}
_MOST_PARENTS = 8
_VERSION = re.compile(r"\s*v\s*=\s*DMARC1\s*(;|\Z)")


async def check_dmarc(resolver: Resolver, record: DnsRecord, domain: str) -> DnsRecord:
    """Raises LookupFailed.

    Receivers find the organisation's domain by a list of public suffixes, or by a walk up the
    names. Here the shortest name with a policy counts: it is the same, as nobody publishes one for
    ``com`` or ``co.uk``.
    """
    own = await _policies(resolver, record.name)
    if own:
        return _judged(record, domain, own, sub=False)
    for parent in reversed(name_and_parents(domain)[1:][:_MOST_PARENTS]):
        if inherited := await _policies(resolver, f"_dmarc.{parent}"):
            return _judged(record, parent, inherited, sub=True)
    found = await texts(resolver, record.name)
    if found:
        sentence = "the record does not begin with v=DMARC1, so nobody takes it for DMARC"
        return judged(record, "wrong", sentence, found)
    return await missing(resolver, record, domain)


async def _policies(resolver: Resolver, name: str) -> list[str]:
    found = await texts(resolver, name)
    return [each for each in found if _VERSION.match(each)]


def _judged(record: DnsRecord, place: str, found: list[str], *, sub: bool) -> DnsRecord:
    where = f"the record of {place}" if sub else "it"
    if len(found) > 1:
        sentence = f"{place} has {len(found)} DMARC records, so none counts: leave one"
        return judged(record, "wrong", sentence, found)
    try:
        tags = parse_tags(found[0])
    except ValueError as error:
        return judged(record, "wrong", f"{where} can't be read: {error}", found)
    policy = tags.get("p", "").lower()
    if policy not in _POLICIES and "rua" not in tags:
        return judged(record, "wrong", f"{where} has no p=none, p=quarantine or p=reject", found)
    applied = tags.get("sp", policy).lower() if sub else policy
    notes = [f"the record of {place} counts"] if sub else []
    if applied not in ("quarantine", "reject"):
        notes.append("it asks for reports only: once they look right, go on to p=quarantine")
    if tags.get("adkim") == "s":
        notes.append("adkim=s: mail from a subdomain needs a sending domain of its own")
    return judged(record, "verified", "; ".join(notes), found)
