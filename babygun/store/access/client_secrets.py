"""The secrets of API clients: only salted hashes of them are stored."""

from __future__ import annotations

import hashlib
import hmac
import os
from datetime import datetime, timedelta
from typing import TypeGuard

from msgspec.structs import replace

from babygun.errors import Conflict
from babygun.runtime.identifiers import new_token
from babygun.store.records import Client, PreviousSecret

MOST_REPLACED = 32
"""Secrets before the present one that are taken at the same time: a month of daily new ones."""
# The form of a Client.secret_hash. No secret has it.
_NO_SECRET = f"sha256:{bytes(16).hex()}:{bytes(32).hex()}"


def new_secret() -> str:
    """A random secret of 256 bits."""
    return new_token(32)


def hash_of(secret: str) -> str:
    """A ``secret_hash``, with a new salt."""
    salt = os.urandom(16)
    return f"sha256:{salt.hex()}:{_digest(salt, secret)}"


def verify_secret(client: Client | None, secret: str, now: datetime) -> TypeGuard[Client]:
    """Whether this is the client's secret, or one before whose end has not come.

    Never, where there is no client. It takes the same time in all cases.
    """
    hashes = list[str]()
    if client:
        hashes = [client.secret_hash]
        hashes += [one.secret_hash for one in still_taken(client, now)]
    missing = 1 + MOST_REPLACED - len(hashes)
    hashes += [_NO_SECRET] * missing
    right = [_is_secret_of(each, secret) for each in hashes]
    return client is not None and any(right)


def rotated(
    client: Client, secret_hash: str, now: datetime, grace: float, *, end_tokens: bool
) -> Client:
    """The client with a new secret. ``grace``: seconds for which the present one is taken, too.

    Each secret before that is taken until its own end. So a rotation that is repeated, since its
    answer was lost, does not end the secret in use. Without a grace all of them end now.
    ``end_tokens``: the tokens that the client has are refused. A secret that it has already changes
    nothing. Raises Conflict beyond MOST_REPLACED.
    """
    if secret_hash in (client.secret_hash, *(one.secret_hash for one in client.replaced)):
        return client
    until = now + timedelta(seconds=grace)
    earlier = still_taken(client, now) if grace else ()
    if len(earlier) >= MOST_REPLACED:
        free = min(one.until for one in earlier)
        raise Conflict(
            f"{len(earlier)} secrets before the present one still work, and no more can."
            f" The first of them ends at {free:%Y-%m-%d %H:%M:%S} UTC: try again then, or end all"
            " of them now, by a grace of 0"
        )
    return replace(
        client,
        secret_hash=secret_hash,
        previous=PreviousSecret(client.secret_hash, until) if grace else None,
        earlier=earlier,
        series=client.series + end_tokens,
    )


def still_taken(client: Client, now: datetime) -> tuple[PreviousSecret, ...]:
    """Its secrets before the present one whose end has not come."""
    return tuple(one for one in client.replaced if now < one.until)


def _is_secret_of(secret_hash: str, secret: str) -> bool:
    _, salt, digest = secret_hash.split(":")
    return hmac.compare_digest(digest, _digest(bytes.fromhex(salt), secret))


def _digest(salt: bytes, secret: str) -> str:
    return hashlib.sha256(salt + secret.encode("utf-8", "surrogatepass")).hexdigest()
