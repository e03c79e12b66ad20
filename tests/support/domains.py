"""Sending domains for tests: made in a store, and with their records in a DNS of the test's own."""

from __future__ import annotations

from collections.abc import Sequence

from babygun.domains.wanted import sending_of, wanted_records
from babygun.email.sending_domains import SendingDomain
from babygun.pki.sealing import new_key
from babygun.store import Store
from babygun.store.access.clients import create_client
from babygun.store.domains.change import create_domain


def sealing() -> dict[str, tuple[str, ...]]:
    """The settings without which no domain can be made."""
    return {"secrets_keys": (new_key(),)}


async def made_domain(store: Store, name: str, clients: Sequence[str] = ()) -> SendingDomain:
    """A domain of these clients (identities), by default of a new one."""
    if not clients:
        client, _ = await create_client(store, name="shop", scopes=("emails:send", "domains"))
        clients = (client.identity,)
    return await create_domain(store, name, clients, by_operator=True)


def dns_of(store: Store, domain: SendingDomain) -> dict[tuple[str, str], list[str]]:
    """The records that a domain wants, as :class:`Zone` takes them."""
    return {
        (each.name, each.type): [f"{each.value}." if each.type == "MX" else each.value]
        for each in wanted_records(domain, sending_of(store.settings))
    }
