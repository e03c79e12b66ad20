"""Whether a domain's SPF record lets our mail pass, found out as receivers do."""

from __future__ import annotations

import asyncio
import ipaddress
import re

from msgspec.structs import replace

from babygun.dns import Kind, NoSuchName, Resolver
from babygun.domains.spf import MOST_LOOKUPS, SpfResult, evaluate
from babygun.domains.spf_record import Address, is_spf
from babygun.domains.texts import judged, missing, texts
from babygun.domains.wanted import Sending
from babygun.email.sending_domains import DnsRecord

_ENDS = re.compile(r"[+?~-]?all\Z|redirect=", re.IGNORECASE)
_LONGEST = 2000  # characters of a record that is kept
NOBODYS = ipaddress.ip_address("203.0.113.213")  # RFC 5737: it passes where everybody does


async def check_spf(
    resolver: Resolver, record: DnsRecord, domain: str, sending: Sending
) -> DnsRecord:
    """Raises LookupFailed.

    ``value`` becomes the record to replace the present one by: a name may have one SPF record only.
    """
    name = record.name
    found = [each for each in await texts(resolver, name) if is_spf(each)]
    if not found:
        return await missing(resolver, record, domain)
    if len(found) > 1:
        sentence = f"{name} has {len(found)} SPF records, and that fails: join them into one"
        return judged(record, "wrong", sentence, found)
    addresses = await source_addresses(resolver, sending)
    results = await asyncio.gather(*(evaluate(resolver, name, each) for each in addresses))
    nobodys = await evaluate(resolver, name, NOBODYS)
    failed = [each for each in (*results, nobodys) if each.result == "temperror"]
    if failed:
        return judged(record, "unknown", failed[0].sentence, found)
    for address, result in zip(addresses, results, strict=True):
        if result.result != "pass":
            sentence = f"mail from {address} gets {result.result}: {result.sentence}"
            return judged(_joined(record, found[0], sending), "wrong", sentence, found)
    if problem := _problem(nobodys, sending, addresses):
        return judged(_joined(record, found[0], sending), "wrong", problem, found)
    return judged(replace(record, value=found[0][:_LONGEST]), "verified", _note(nobodys), found)


async def source_addresses(resolver: Resolver, sending: Sending) -> list[Address]:
    """The addresses from which mail comes, as far as they are known. Raises LookupFailed."""
    if not sending.hostname:
        return [ipaddress.ip_address(each) for each in sending.sources]
    kinds: tuple[Kind, ...] = ("A", "AAAA")
    found: list[Address] = []
    for kind in kinds:
        try:
            records = (await resolver.lookup(sending.hostname, kind)).records
        except NoSuchName:
            break
        found += [ipaddress.ip_address(each.value) for each in records]
    return found


def _problem(nobodys: SpfResult, sending: Sending, addresses: list[Address]) -> str:
    """What is wrong with a record that lets our addresses pass."""
    if nobodys.result == "pass":
        return f"it lets everybody send: {nobodys.sentence}. End it with ~all"
    is_included = not sending.spf_include or sending.spf_include.lower() in nobodys.included
    if nobodys.result == "permerror" and not (addresses and is_included):
        return nobodys.sentence
    if not is_included:
        return f"it does not include {sending.spf_include}, from where the relay sends"
    return ""


def _note(nobodys: SpfResult) -> str:
    if nobodys.result == "permerror":
        return f"our mail passes, but the rest of the record fails: {nobodys.sentence}"
    return f"it takes {nobodys.lookups} of {MOST_LOOKUPS} look-ups"


def _joined(record: DnsRecord, present: str, sending: Sending) -> DnsRecord:
    """The wanted value: the present record with our terms before its end."""
    if len(present) > _LONGEST:
        return record
    words = ["~all" if each.lower() in ("all", "+all") else each for each in present.split()]
    there = present.lower().split()
    lacking = [each for each in sending.spf_terms if each.lower() not in there]
    ends = [at for at, word in enumerate(words) if _ENDS.match(word)] or [len(words)]
    return replace(record, value=" ".join([*words[: ends[0]], *lacking, *words[ends[0] :]]))
