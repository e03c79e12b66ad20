"""Keeps a signing key in etcd, so that tokens can be issued."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from babygun.errors import EtcdError
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.access.known_clients import KnownClients
from babygun.store.access.tokens import ensure_signing_key

log = get_logger("api")

_INTERVAL = 5.0  # s, between two looks, so that a key that could not be made is tried again


async def keep_signing_key(
    store: Store, known_clients: KnownClients, joined: Callable[[], bool]
) -> None:
    """Makes a signing key whenever there is none, until cancelled.

    There is none at the first start, and after an operator has removed them all. ``joined``:
    whether etcd has confirmed that its contents are this cluster's; no key is made before that.
    """
    with _changes(known_clients) as changed:
        await known_clients.ready.wait()
        while True:
            changed.clear()
            if joined() and known_clients.synced and known_clients.signing_key is None:
                try:
                    await ensure_signing_key(store)
                except EtcdError as error:
                    log.warning("signing key not created", error=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(_INTERVAL):
                    await changed.wait()


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
