"""Compares what DNS has with the records that a sending domain wants."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from msgspec.structs import replace

from babygun.dns import LookupFailed, Resolver
from babygun.domains.dkim_records import check_dkim
from babygun.domains.dmarc import check_dmarc
from babygun.domains.return_paths import check_return_path
from babygun.domains.spf_checks import check_spf
from babygun.domains.texts import judged, texts
from babygun.domains.wanted import (
    MTA_STS,
    TLS_RPT,
    Sending,
    dkim_purpose,
    required,
    wanted_records,
    with_last_look,
)
from babygun.email.sending_domains import DnsRecord, DomainStatus, SendingDomain

_HINTS = {
    TLS_RPT: "for mail to the domain: others send reports there about TLS that failed",
    MTA_STS: "for mail to the domain: it needs a policy file that the domain's mail hosts keep to",
}
_LONGEST = 30.0  # s, for all records of a domain


class Checked(NamedTuple):
    """``seen``: the selectors whose keys are in DNS as they are wanted."""

    records: tuple[DnsRecord, ...]
    seen: frozenset[str]
    status: DomainStatus


async def check(resolver: Resolver, domain: SendingDomain, sending: Sending) -> Checked:
    """What DNS has. That it does not answer is no error: the record keeps what was known of it."""
    wanted = wanted_records(domain, sending)
    looked = await asyncio.gather(*(look(resolver, each, domain, sending) for each in wanted))
    records = tuple(map(_or_as_before, looked, with_last_look(domain, sending)))
    verified = {each.purpose for each in records if each.status == "verified"}
    seen = frozenset(one.name for one in domain.selectors if dkim_purpose(one.name) in verified)
    return Checked(records, seen, status_of(domain, records))


def status_of(domain: SendingDomain, records: tuple[DnsRecord, ...]) -> DomainStatus:
    """``failed``: a required record is wrong, or one is gone that was there.

    ``pending``: some are not there yet. Where DNS did not answer, the status stays.
    """
    statuses = {each.status for each in required(domain, records)}
    if statuses <= {"verified"}:
        return "verified"
    if "wrong" in statuses or ("missing" in statuses and domain.status != "pending"):
        return "failed"
    return domain.status if "missing" not in statuses else "pending"


async def look(
    resolver: Resolver, record: DnsRecord, domain: SendingDomain, sending: Sending
) -> DnsRecord:
    """What DNS has of one record."""
    try:
        async with asyncio.timeout(_LONGEST):
            return await _check(resolver, record, domain.name, sending)
    except TimeoutError:
        return judged(record, "unknown", f"DNS took more than {_LONGEST:.0f} s", [])
    except LookupFailed as error:
        return judged(record, "unknown", str(error), [])


async def _check(resolver: Resolver, record: DnsRecord, domain: str, sending: Sending) -> DnsRecord:
    match record.purpose:
        case "spf" | "return_path_spf":
            return await check_spf(resolver, record, domain, sending)
        case "dmarc":
            return await check_dmarc(resolver, record, domain)
        case "return_path":
            return await check_return_path(resolver, record, sending.bounce_hostname)
        case "tls_rpt" | "mta_sts":
            return await _check_hint(resolver, record)
    return await check_dkim(resolver, record, domain)


async def _check_hint(resolver: Resolver, record: DnsRecord) -> DnsRecord:
    version, _, _ = record.value.partition(";")
    found = [each for each in await texts(resolver, record.name) if each.startswith(version)]
    return judged(record, "verified" if found else "optional", _HINTS[record.purpose], found)


def _or_as_before(now: DnsRecord, before: DnsRecord) -> DnsRecord:
    """What was known of a record stays while DNS does not answer."""
    if now.status != "unknown" or before.status in ("unchecked", "unknown"):
        return now
    return replace(before, sentence=f"the last look got no answer ({now.sentence})")
