"""Whether bounce messages find their way: the MX record of a domain's return path."""

from __future__ import annotations

from babygun.dns import Kind, NoSuchName, Resolver
from babygun.domains.texts import judged
from babygun.email.sending_domains import DnsRecord


async def check_return_path(
    resolver: Resolver, record: DnsRecord, bounce_hostname: str
) -> DnsRecord:
    """A CNAME of the host is as good as an MX record. Raises LookupFailed."""
    host = bounce_hostname.lower()
    hosts = await _records(resolver, record.name, "MX")
    found = [f"{preference} {name}" for name, preference in hosts]
    if not hosts:
        own, theirs = await _addresses(resolver, record.name), await _addresses(resolver, host)
        if not own:
            sentence = f"DNS has no MX record at {record.name} yet: bounces can't come back"
            return judged(record, "missing", sentence, [])
        if not own & theirs:
            sentence = f"{record.name} has no MX record, and an address that is not of {host}"
            return judged(record, "wrong", sentence, sorted(own))
        return judged(record, "verified", f"it has the address of {host}", sorted(own))
    names = [name for name, _ in hosts]
    if host not in names:
        sentence = f"bounces go to {names[0] or 'nobody'}, not to {host}: replace the MX record"
        return judged(record, "wrong", sentence, found)
    if len(names) > 1:
        other = next(name for name in names if name != host)
        sentence = f"some bounces go to {other}: leave {host} alone there"
        return judged(record, "wrong", sentence, found)
    if not await _addresses(resolver, host):
        sentence = f"{host} has no address in DNS: the operator of Babygun has to add it"
        return judged(record, "wrong", sentence, found)
    return judged(record, "verified", "", found)


async def _addresses(resolver: Resolver, name: str) -> set[str]:
    kinds: tuple[Kind, ...] = ("A", "AAAA")
    return {value for kind in kinds for value, _ in await _records(resolver, name, kind)}


async def _records(resolver: Resolver, name: str, kind: Kind) -> list[tuple[str, int]]:
    try:
        return list((await resolver.lookup(name, kind)).records)
    except NoSuchName:
        return []
