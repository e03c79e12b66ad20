"""A sending domain that signs, and has a return path, at once, as if DNS had been asked."""

from __future__ import annotations

from collections.abc import Sequence

from babygun.email.sending_domains import DkimAlgorithm, DnsRecord
from babygun.pki.sealing import new_key
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.access.clients import list_clients
from babygun.store.domains.change import checked, create_domain

SENDER_DOMAIN = "example.com"  # of the load generator's e-mails


def sealing_key() -> dict[str, str]:
    """The variable with a key that seals DKIM keys, for all processes of a Babygun."""
    return {"BABYGUN_SECRETS_KEYS": new_key()}


async def sign(
    endpoint: str, variables: dict[str, str], algorithms: Sequence[DkimAlgorithm]
) -> None:
    """Gives the domain of all e-mails to all clients. ``endpoint``: etcd's."""
    settings = Settings(
        etcd_endpoints=(endpoint,), secrets_keys=(variables["BABYGUN_SECRETS_KEYS"],)
    )
    async with Store(settings) as store:
        clients = [client.identity for client in await list_clients(store)]
        domain = await create_domain(store, SENDER_DOMAIN, clients, algorithms=algorithms)
        seen = {selector.name for selector in domain.selectors}
        return_path = DnsRecord("return_path", "MX", domain.return_path, "", "verified")
        await checked(store, domain.name, (return_path,), "verified", seen, utc_now())
