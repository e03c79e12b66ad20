"""Sending domains whose keys sign at once, as if DNS had been asked; and signatures, verified."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import dkim
from msgspec.structs import replace

from babygun.domains.wanted import sending_of, wanted_records
from babygun.email.sending_domains import DkimAlgorithm, DnsRecord, SendingDomain, Verified
from babygun.etcd import Txn, put
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store import Store, codec
from babygun.store.domains.dkim_keys import new_selectors


async def signing_domain(
    store: Store,
    name: str,
    *,
    clients: Sequence[str] = ("client",),
    algorithms: Sequence[DkimAlgorithm] = ("rsa2048",),
    since: datetime | None = None,
) -> SendingDomain:
    """Makes a domain that signs since an hour ago. The store needs a sealing key."""
    since = since or utc_now() - timedelta(hours=1)
    made, writes = await new_selectors(store, name, algorithms)
    selectors = tuple(
        replace(one, state="signing", seen_at=since, signing_since=since) for one in made
    )
    domain = SendingDomain(name, tuple(clients), since, since, selectors)
    await write_domain(store, domain, *writes)
    return domain


async def domain_with_return_path(
    store: Store, name: str, *, clients: Sequence[str] = ("client",)
) -> SendingDomain:
    """Makes a domain without keys whose return path is in DNS, as far as is known."""
    now = utc_now()
    domain = SendingDomain(name, tuple(clients), now, now)
    return await found_return_path(store, domain)


async def found_return_path(store: Store, domain: SendingDomain) -> SendingDomain:
    """The domain, as if DNS had the MX record of its return path."""
    now = utc_now()
    record = DnsRecord(
        "return_path", "MX", domain.return_path, "10 bounces.example.com", status="verified"
    )
    domain = replace(domain, verified=Verified(now, "verified", (record,)))
    await write_domain(store, domain)
    return domain


async def write_domain(store: Store, domain: SendingDomain, *writes: object) -> None:
    """Writes it as it is."""
    write = put(store.keys.domain(domain.name), codec.encode_state(domain))
    result = await store.client.txn(Txn([], [write, *writes]))  # type: ignore[list-item]
    store.domains.learn(domain, result.revision)


def dkim_records(*domains: SendingDomain) -> dict[str, str]:
    """The TXT records of all keys, by name, as an operator is asked to publish them."""
    sending = sending_of(Settings())
    return {
        record.name: record.value
        for domain in domains
        for record in wanted_records(domain, sending)
        if record.purpose.startswith("dkim:")
    }


def verified_signatures(message: bytes, *domains: SendingDomain) -> list[str]:
    """The domains whose signatures dkimpy finds valid. Raises AssertionError for another one."""
    records = dkim_records(*domains)

    def published(name: bytes, timeout: int = 5) -> bytes | None:
        record = records.get(name.decode().rstrip("."))
        return record.encode() if record else None

    found = []
    for index in range(message.partition(b"\r\n\r\n")[0].count(b"DKIM-Signature:")):
        verifier = dkim.DKIM(message)
        assert verifier.verify(idx=index, dnsfunc=published), message
        found.append(verifier.domain.decode())
    return found
