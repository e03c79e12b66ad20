"""API clients, the keys that sign their tokens, and revoked tokens."""

from __future__ import annotations

import hashlib
import hmac
import math
import os
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TypeGuard

from babygun.email.model import client_id_of
from babygun.errors import Conflict, EtcdUnavailable, NotFound, OutcomeUnknown
from babygun.etcd import (
    Compare,
    KeyValue,
    Txn,
    absent,
    created_at,
    delete,
    get,
    modified_at,
    put,
    range_absent,
)
from babygun.runtime.clock import utc_now
from babygun.runtime.identifiers import new_token
from babygun.store import codec
from babygun.store.keys import range_end
from babygun.store.records import Client, Scope, SigningKey
from babygun.store.store import Store
from babygun.store.upkeep import removal
from babygun.store.webhooks.known import known_of

MAX_NAME = 200
MAX_WEIGHT = 100
_CLOCKS_DIFFER = 3600  # s, at most
_NO_SECRET = f"sha256:{bytes(16).hex()}:{bytes(32).hex()}"  # the form of a Client.secret_hash
_client_id = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch


def is_client_id(text: str) -> bool:
    """Whether ``text`` has the form of a client's id."""
    return _client_id(text) is not None


def client_problems(
    name: str, client_id: str | None, rate: float | None, weight: int = 1
) -> Iterator[tuple[str, str]]:
    """What is wrong with a client to be made: the field, and a sentence."""
    if not 1 <= len(name.strip()) <= MAX_NAME or not name.isprintable():
        yield (
            "name",
            f"a client's name has 1 to {MAX_NAME} characters, without line breaks:"
            " say what it is for",
        )
    if client_id is not None and not is_client_id(client_id):
        yield "id", "a client's id has 1 to 64 letters, digits, dots, hyphens and underscores"
    if rate is not None and not 0 < rate < math.inf:
        yield "rate", "the rate must be above 0"
    if not 1 <= weight <= MAX_WEIGHT:
        yield "weight", f"the weight must be a whole number from 1 to {MAX_WEIGHT}"


async def create_client(
    store: Store,
    *,
    name: str,
    scopes: Sequence[Scope],
    rate: float | None = None,
    weight: int = 1,
    client_id: str | None = None,
    secret: str | None = None,
) -> tuple[Client, str]:
    """Makes a client; returns it and its secret, which is not stored and can't be shown again.

    Raises Conflict where the id is taken.
    """
    secret = secret or new_token(32)
    salt = os.urandom(16)
    client = Client(
        client_id or new_token(8),
        name,
        tuple(scopes),
        f"sha256:{salt.hex()}:{_digest(salt, secret)}",
        utc_now(),
        rate,
        new_token(6),
        weight,
    )
    key = store.keys.client(client.id)
    value = codec.encode_state(client)
    txn = Txn([absent(key)], [put(key, value)], [get(key)])
    try:
        result = await store.client.txn(txn)
    except OutcomeUnknown:  # if it was applied, the secret must still be given out
        try:
            result = await store.client.txn(txn)
        except EtcdUnavailable as error:
            raise OutcomeUnknown(str(error)) from None
    if not result.succeeded and [kv.value for kv in result.kvs(0)] != [value]:
        raise Conflict(f"there is a client {client.id!r} already")
    return client, secret


async def list_clients(store: Store) -> list[Client]:
    """All clients, by id."""
    found = await store.client.range(store.keys.clients, range_end(store.keys.clients))
    return [codec.decode_state(kv.value, Client) for kv in found.kvs]


async def get_client(store: Store, client_id: str) -> Client | None:
    found = await store.client.get(store.keys.client(client_id))
    return codec.decode_state(found.value, Client) if found else None


async def is_there(store: Store, identity: str) -> Compare:
    """The compare that holds as long as a client is there, and is no later one of its id.

    Raises NotFound, EtcdError.
    """
    key = store.keys.client(client_id_of(identity))
    found = await store.client.get(key)
    if found is None or _identity(found, client_id_of(identity)) != identity:
        raise NotFound("there is no such client any more")
    return created_at(key, found.create_revision)


async def delete_client(store: Store, client_id: str) -> bool:
    """Deletes a client, with its webhooks and suppressions, and the domains that only it holds.

    Its tokens are refused within a second; its e-mails stay. A client that is made later under the
    same id has nothing of it. False: there was none.
    """
    key = store.keys.client(client_id)
    found = await store.client.get(key)
    found_at = found.create_revision if found else 0
    while found is not None and found.create_revision == found_at:  # later it is another client
        identity = _identity(found, client_id)
        known = known_of(await store.client.get(store.keys.client_webhooks(identity)))
        webhooks = [webhook.id for webhook in known.webhooks.webhooks] if known.webhooks else []
        name, ops = removal.of_client(store.keys, identity, webhooks, utc_now())
        compares = [
            modified_at(key, found.mod_revision),
            store.webhooks.compare(identity, known),
        ]
        try:
            if (await store.client.txn(Txn(compares, [delete(key), *ops]))).succeeded:
                await removal.begin(store, name)
                return True
        except OutcomeUnknown:
            pass
        found = await store.client.get(key)
    return found_at > 0


def _identity(found: KeyValue, client_id: str) -> str:
    """What e-mails name the client by; its id, where somebody wrote a value that can't be read."""
    try:
        return codec.decode_state(found.value, Client).identity
    except ValueError:
        return client_id


def verify_secret(client: Client | None, secret: str) -> TypeGuard[Client]:
    """Whether this is the client's secret: never, where there is no client.

    It takes the same time in all cases.
    """
    _, salt, digest = (client.secret_hash if client else _NO_SECRET).split(":")
    same = hmac.compare_digest(digest, _digest(bytes.fromhex(salt), secret))
    return same and client is not None


def _digest(salt: bytes, secret: str) -> str:
    return hashlib.sha256(salt + secret.encode("utf-8", "surrogatepass")).hexdigest()


async def ensure_signing_key(store: Store) -> None:
    """Makes the first signing key, unless there is one.

    Any number of API processes may do this at the same time.
    """
    key = SigningKey(new_token(4), os.urandom(32), utc_now())
    first = range_absent(store.keys.signing_keys, range_end(store.keys.signing_keys))
    await store.client.txn(
        Txn([first], [put(store.keys.signing_key(key.kid), codec.encode_state(key))])
    )


async def revoke_token(store: Store, jti: str, issued_at: datetime, expires_at: datetime) -> None:
    """Refuses a token from now on; its key goes after the token's own end.

    No clock is asked: with one that is ahead, the key would go while others still take the token.
    """
    whole = math.ceil((expires_at - issued_at).total_seconds())
    lease = await store.client.grant(whole + _CLOCKS_DIFFER)
    await store.client.put(store.keys.revoked(jti), b"", lease)
