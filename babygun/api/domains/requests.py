"""The bodies with which sending domains are made and changed, and their rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from babygun.api.domains.examples import NAME
from babygun.api.http.body import MAX_SMALL
from babygun.api.http.json_body import JsonBody
from babygun.email.sending_domains import MOST_CLIENTS, DkimAlgorithm, sending_domain_name
from babygun.errors import InvalidRequest, Violation, sentence
from babygun.store import Store
from babygun.store.access.client_rules import is_client_id
from babygun.store.access.clients import get_client

_Clients = Annotated[
    list[str], Meta(min_length=1, max_length=MOST_CLIENTS, description="Clients, by id.")
]
_ED25519 = "true: a second key, of Ed25519 (RFC 8463), beside that of RSA. "


class DomainRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sending domain to make."""

    name: Annotated[
        str, Meta(description="The domain of From addresses. Its subdomains are covered, too.")
    ]
    ed25519: Annotated[
        bool, Meta(description=f"{_ED25519}Some receivers don't know it, and take the RSA one.")
    ] = False
    clients: (
        Annotated[
            _Clients,
            Meta(description="Who holds it, for callers with the scope admin; else the caller."),
        ]
        | None
    ) = None


class ClientsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who holds a domain from now on: these clients and no others."""

    clients: _Clients


class RotateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """New DKIM keys. By default as many as there are, of the same algorithms."""

    ed25519: Annotated[
        bool | None, Meta(description=f"{_ED25519}false: RSA alone. By default as before.")
    ] = None


NEW = JsonBody(
    DomainRequest,
    max_bytes=MAX_SMALL,
    examples={
        "a domain": {"name": NAME},
        "with a second key": {"name": NAME, "ed25519": True},
        "for other clients": {"name": NAME, "clients": ["shop", "newsletter"]},
    },
)
CLIENTS = JsonBody(
    ClientsRequest,
    max_bytes=MAX_SMALL,
    examples={"two share it": {"clients": ["shop", "newsletter"]}},
)
ROTATE = JsonBody(RotateRequest, max_bytes=MAX_SMALL, examples={"as before": {}}, required=False)


def algorithms(ed25519: bool) -> tuple[DkimAlgorithm, ...]:
    """Of the keys that a request asks for."""
    return ("rsa2048", "ed25519") if ed25519 else ("rsa2048",)


def checked_name(text: str) -> str:
    """Raises InvalidRequest."""
    try:
        return sending_domain_name(text)
    except ValueError as error:
        raise InvalidRequest([Violation("name", sentence(error))]) from None


async def identities(store: Store, client_ids: Sequence[str]) -> list[str]:
    """The identities of clients, each once. Raises InvalidRequest where there is no such client."""
    found: dict[str, str] = {}
    broken = []
    for place, client_id in enumerate(client_ids):
        client = await get_client(store, client_id) if is_client_id(client_id) else None
        if client is None:
            broken.append(Violation(f"clients[{place}]", "There is no client with this id."))
        else:
            found[client_id] = client.identity
    if broken:
        raise InvalidRequest(broken)
    return list(found.values())
