"""The secrets of API clients: only salted hashes of them are stored."""

from __future__ import annotations

import hashlib
import hmac
import os
from datetime import datetime
from typing import TypeGuard

from msgspec.structs import replace

from babygun.runtime.identifiers import new_token
from babygun.store.records import Client, PreviousSecret

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
    """Whether this is the client's secret, or the one before: never, where there is no client.

    It takes the same time in all cases.
    """
    before = client.previous if client else None
    present = _is_secret_of(client.secret_hash if client else _NO_SECRET, secret)
    earlier = _is_secret_of(before.secret_hash if before else _NO_SECRET, secret)
    return client is not None and (
        present or (earlier and before is not None and now < before.until)
    )


def rotated(
    client: Client, secret_hash: str, previous_until: datetime | None, *, end_tokens: bool
) -> Client:
    """The client with a new secret. ``previous_until``: until when the present one is taken, too.

    ``end_tokens``: the tokens that it has are refused. A secret that is there already changes
    nothing. A third one is never taken.
    """
    if client.secret_hash == secret_hash:
        return client
    previous = PreviousSecret(client.secret_hash, previous_until) if previous_until else None
    return replace(
        client,
        secret_hash=secret_hash,
        previous=previous,
        series=client.series + end_tokens,
    )


def _is_secret_of(secret_hash: str, secret: str) -> bool:
    _, salt, digest = secret_hash.split(":")
    return hmac.compare_digest(digest, _digest(bytes.fromhex(salt), secret))


def _digest(salt: bytes, secret: str) -> str:
    return hashlib.sha256(salt + secret.encode("utf-8", "surrogatepass")).hexdigest()
