"""Stores that can seal keys, and domains in them."""

from __future__ import annotations

from datetime import datetime

from babygun.email.sending_domains import SendingDomain
from babygun.pki.sealing import new_key
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.access.clients import create_client
from babygun.store.domains.change import checked, create_domain
from tests.support.rig import changed

NAME = "example.com"


def sealing(settings: Settings, *keys: str) -> Settings:
    """The settings with keys that seal secrets, by default a new one."""
    return changed(settings, secrets_keys=keys or (new_key(),))


async def client_of(store: Store, client_id: str) -> str:
    """The identity of a new client."""
    client, _ = await create_client(store, name=client_id, scopes=("domains",), client_id=client_id)
    return client.identity


async def seen_in_dns(
    store: Store, domain: SendingDomain, at: datetime | None = None
) -> SendingDomain:
    """The domain after a look that found all its keys."""
    seen = {one.name for one in domain.selectors}
    return await checked(store, domain.name, (), "verified", seen, at or utc_now())


async def new_domain(store: Store, client: str, name: str = NAME) -> SendingDomain:
    """With an Ed25519 key alone, which is made at once."""
    return await create_domain(store, name, [client], algorithms=("ed25519",))
