"""Keeps signing keys in etcd, so that tokens can be issued: a new one in time, no old ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

from babygun.errors import EtcdError
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.access.known_clients import KnownClients
from babygun.store.access.signing_keys import (
    delete_signing_key,
    due,
    ended,
    make_signing_key,
    note_token_ttl,
)

log = get_logger("api")

_INTERVAL = 5.0  # s, between two looks, so that a key that could not be made is tried again


async def keep_signing_key(
    store: Store,
    known_clients: KnownClients,
    joined: Callable[[], bool],
    process_id: Callable[[], str],
) -> None:
    """Makes a signing key whenever one is due, and deletes ended ones, until cancelled.

    One is due at the first start, in turn, and after an operator has removed them all. ``joined``:
    whether etcd has confirmed that its contents are this cluster's; nothing is done before that.
    ``process_id``: of this process, for the audit.
    """
    with _changes(known_clients) as changed:
        await known_clients.ready.wait()
        while True:
            changed.clear()
            if joined() and known_clients.synced:
                try:
                    await _keep(store, known_clients, process_id(), utc_now())
                except EtcdError as error:
                    log.warning("signing key not created", error=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(_INTERVAL):
                    await changed.wait()


async def _keep(store: Store, known_clients: KnownClients, process_id: str, now: datetime) -> None:
    keys, settings = known_clients.signing_keys, store.settings
    is_due = due(keys.values(), settings.signing_key_period, now)
    if is_due and await make_signing_key(store, process_id):
        log.info("signing key created")
    signs = known_clients.signing_key
    if signs is not None and signs.token_ttl < settings.token_ttl:
        await note_token_ttl(store, signs)
    for key in ended(keys.values(), settings.token_ttl, now):
        if await delete_signing_key(store, key, process_id):
            log.info("signing key deleted", kid=key.kid)


async def until_tokens_work(known_clients: KnownClients) -> None:
    """Waits until tokens can be issued and verified."""
    with _changes(known_clients) as changed:
        while not (known_clients.ready.is_set() and known_clients.signing_key):
            changed.clear()
            await changed.wait()


@contextmanager
def _changes(known_clients: KnownClients) -> Iterator[asyncio.Event]:
    """Yields an event that each change of clients, keys or revoked tokens sets."""
    changed = asyncio.Event()
    known_clients.on_change.append(changed.set)
    try:
        yield changed
    finally:
        known_clients.on_change.remove(changed.set)
