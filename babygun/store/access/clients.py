"""API clients: made, read, changed, deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from babygun.email.model import client_id_of
from babygun.errors import Conflict, NotFound
from babygun.etcd import Compare, KeyValue, Txn, absent, created_at, delete, modified_at, put
from babygun.runtime.clock import utc_now
from babygun.runtime.identifiers import new_token
from babygun.store import codec
from babygun.store.access.client_secrets import hash_of, new_secret, rotated
from babygun.store.keys import range_end
from babygun.store.records import Client, Scope
from babygun.store.settled import Write, settled, write
from babygun.store.store import Store
from babygun.store.upkeep import removal
from babygun.store.webhooks.known import known_of

# s, for which a client's secret is taken after a new one was made.
GRACE, MAX_GRACE = 86_400, 30 * 86_400


class Deleted(Struct, frozen=True):
    """A client that was deleted, and how many webhooks went with it."""

    name: str
    webhooks: int


async def create_client(
    store: Store,
    *,
    name: str,
    scopes: Sequence[Scope],
    rate: float | None = None,
    weight: int = 1,
    recipients_per_day: int | None = None,
    client_id: str | None = None,
    secret: str | None = None,
) -> tuple[Client, str]:
    """Makes a client; returns it and its secret, which is not stored and can't be shown again.

    Raises Conflict where the id is taken.
    """
    secret = secret or new_secret()
    client = Client(
        client_id or new_token(8),
        name,
        tuple(scopes),
        hash_of(secret),
        utc_now(),
        rate,
        new_token(6),
        weight,
        recipients_per_day,
    )
    key = store.keys.client(client.id)
    value = codec.encode_state(client)

    async def decide(_: bool) -> Client | Write[Client]:
        found = await store.client.get(key)
        if found is None:
            return write(store, Txn([absent(key)], [put(key, value)]), client)
        if found.value != value:
            raise Conflict(f"there is a client {client.id!r} already")
        return client

    return await settled(decide), secret


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


async def change_client(store: Store, client_id: str, change: Callable[[Client], Client]) -> Client:
    """Changes a client, and returns it as it is then. Other changes at the same time are kept.

    ``change`` may be called several times, also with what it made. Raises NotFound, EtcdError and
    what ``change`` raises.
    """
    key = store.keys.client(client_id)

    async def decide(_: bool) -> Client | Write[Client]:
        found = await store.client.get(key)
        if found is None:
            raise NotFound(f"there is no client {client_id!r}")
        before = codec.decode_state(found.value, Client)
        after = change(before)
        if after == before:
            return after
        same = modified_at(key, found.mod_revision)
        return write(store, Txn([same], [put(key, codec.encode_state(after))]), after)

    return await settled(decide)


async def rotate_secret(
    store: Store, client_id: str, *, grace: float = GRACE, end_tokens: bool = False
) -> tuple[Client, str]:
    """Gives a client a new secret; returns both. The secret is not stored.

    ``grace``: seconds for which the present one is taken, too; 0: it ends now, and all before it.
    ``end_tokens``: the tokens that the client has are refused from now on. Raises NotFound,
    Conflict if too many of its secrets are taken, EtcdError.
    """
    secret = new_secret()
    secret_hash, now = hash_of(secret), utc_now()
    client = await change_client(
        store,
        client_id,
        lambda client: rotated(client, secret_hash, now, grace, end_tokens=end_tokens),
    )
    return client, secret


async def delete_client(store: Store, client_id: str) -> Deleted | None:
    """Deletes a client, with its webhooks and suppressions, and the domains that only it holds.

    Its tokens are refused within a second; its e-mails stay. A client that is made later under the
    same id has nothing of it. None: there was none.
    """
    key = store.keys.client(client_id)
    name, created, deleted = "", 0, None

    async def decide(doubt: bool) -> Deleted | Write[Deleted | None] | None:
        nonlocal name, created, deleted
        found = await store.client.get(key)
        if doubt and (found is None or found.create_revision != created):
            return deleted  # what is there now was made later
        deleted = None
        if found is None:
            return None
        created, identity = found.create_revision, _identity(found, client_id)
        known = known_of(await store.client.get(store.keys.client_webhooks(identity)))
        webhooks = [webhook.id for webhook in known.webhooks.webhooks] if known.webhooks else []
        deleted = Deleted(_name(found), len(webhooks))
        name, ops = removal.of_client(store.keys, identity, webhooks, utc_now())
        compares = [
            modified_at(key, found.mod_revision),
            store.webhooks.compare(identity, known),
        ]
        gone = [delete(key), delete(store.keys.client_usage(identity)), *ops]
        return write(store, Txn(compares, gone), deleted)

    if await settled(decide):
        await removal.begin(store, name)
    return deleted


def _identity(found: KeyValue, client_id: str) -> str:
    """What e-mails name the client by; its id, where somebody wrote a value that can't be read."""
    try:
        return codec.decode_state(found.value, Client).identity
    except ValueError:
        return client_id


def _name(found: KeyValue) -> str:
    try:
        return codec.decode_state(found.value, Client).name
    except ValueError:
        return ""
