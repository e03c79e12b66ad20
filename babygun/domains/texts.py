"""TXT records as they are found, and the usual reasons why one is not."""

from __future__ import annotations

from msgspec.structs import replace

from babygun.dns import DnsError, NoSuchName, Resolver
from babygun.email.sending_domains import DnsRecord, RecordStatus

# Of what strangers wrote, so much is kept: values, and characters of one.
_MOST_SHOWN, _LONGEST_SHOWN = 5, 500
_BEGIN = len("v=spf1")


async def texts(resolver: Resolver, name: str) -> list[str]:
    """The TXT records of a name, each joined from its strings. Raises LookupFailed."""
    try:
        return [each.value for each in (await resolver.lookup(name, "TXT")).records]
    except NoSuchName:
        return []


def judged(record: DnsRecord, status: RecordStatus, sentence: str, found: list[str]) -> DnsRecord:
    """The record with what a look gave."""
    shown = tuple(each[:_LONGEST_SHOWN] for each in found[:_MOST_SHOWN])
    return replace(record, status=status, sentence=sentence, found=shown)


async def missing(resolver: Resolver, record: DnsRecord, domain: str) -> DnsRecord:
    """The record is not there: the sentence says what is there in its place, if anything is."""
    doubled = f"{record.name}.{domain}"
    begin = record.value[:_BEGIN]
    if found := [
        each for each in await _texts_or_none(resolver, doubled) if each.startswith(begin)
    ]:
        short = record.name.removesuffix(f".{domain}") if record.name != domain else "@"
        return judged(
            record,
            "wrong",
            f"it stands at {doubled}: your DNS provider adds {domain} by itself. Enter the name"
            f" {short} there",
            found,
        )
    if target := await _alias(resolver, record.name):
        sentence = f"{record.name} is a CNAME of {target}, and that name has no TXT record"
        return judged(record, "wrong", sentence, [target])
    return judged(
        record,
        "missing",
        f"DNS has no such record at {record.name} yet. A new one can take an hour to show",
        [],
    )


async def _texts_or_none(resolver: Resolver, name: str) -> list[str]:
    try:
        return await texts(resolver, name)
    except DnsError:
        return []


async def _alias(resolver: Resolver, name: str) -> str:
    try:
        found = (await resolver.lookup(name, "CNAME")).records
    except DnsError:
        return ""
    return found[0].value if found else ""
