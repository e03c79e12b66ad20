"""Private DKIM keys in etcd: sealed, so only a process with the sealing key has them in clear."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from babygun.email.sending_domains import DkimAlgorithm, Selector
from babygun.errors import NoSealingKey, NotFound
from babygun.etcd import KeyValue, Op, Txn, modified_at, put
from babygun.pki.dkim_keys import load_dkim_key, make_ed25519_key, make_rsa_key
from babygun.pki.sealing import CannotOpen, Sealer
from babygun.runtime.clock import utc_now
from babygun.runtime.identifiers import new_token
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.keys import range_end
from babygun.store.records import SealedKey
from babygun.store.settled import Write, settled, write
from babygun.store.store import Store

_PAGE = 200
_MAKE = {"rsa2048": make_rsa_key, "ed25519": make_ed25519_key}


class Resealed(NamedTuple):
    """``keys``: all there are. ``resealed``: of them, sealed again. ``closed``: can't be opened."""

    keys: int
    resealed: int
    closed: tuple[str, ...]


def sealer_of(store: Store) -> Sealer:
    """Raises NoSealingKey where the settings have no key."""
    if store.sealer is None:
        raise NoSealingKey
    return store.sealer


async def new_selectors(
    store: Store, name: str, algorithms: Sequence[DkimAlgorithm]
) -> tuple[tuple[Selector, ...], list[Op]]:
    """New selectors of a domain, and the writes of their sealed keys. Raises NoSealingKey.

    A selector's name is random: no other key has ever stood under it in DNS.
    """
    sealer, selectors, ops = sealer_of(store), [], []
    for algorithm in algorithms:
        async with store.domains.making_key:
            key = await asyncio.to_thread(_MAKE[algorithm])
        selector = Selector(f"bg{new_token(4)}", algorithm, key.public, "new", utc_now())
        sealed = sealer.seal(key.private, _sealed_for(name, selector.name))
        value = codec.encode_state(SealedKey(sealer.key_id, sealed))
        selectors.append(selector)
        ops.append(put(store.keys.dkim_key(name, selector.name), value))
    return tuple(selectors), ops


async def read_private_key(store: Store, name: str, selector: str) -> bytes:
    """A selector's private key: PKCS #8, in DER.

    Raises NotFound, NoSealingKey, CannotOpen where the settings lack the key that sealed it, and
    EtcdError.
    """
    found = await store.client.get(store.keys.dkim_key(name, selector))
    if found is None:
        raise NotFound(f"there is no DKIM key of {name} with the selector {selector}")
    return _opened(sealer_of(store), found, name, selector)


async def load_signer(store: Store, name: str, selector: str) -> Callable[[bytes], bytes]:
    """What signs a SHA-256 digest with a selector's key. Raises as :func:`read_private_key`."""
    return load_dkim_key(await read_private_key(store, name, selector))


async def closed_keys(store: Store) -> list[str]:
    """The DKIM keys that the settings' sealing keys can't open, as ``<domain>/<selector>``.

    Raises EtcdError.
    """
    prefix, found = store.keys.dkim_keys, []
    for kv in (await store.client.range(prefix, range_end(prefix))).kvs:
        key = codec.state_of(kv, SealedKey)
        if key and (store.sealer is None or not store.sealer.has(key.key_id)):
            found.append(kv.key[len(prefix) :].decode(errors="replace"))
    return found


async def reseal(store: Store) -> Resealed:
    """Seals all keys with the first key of the settings, after that one has changed.

    Then the others can be taken out of the settings. It may run again, and beside all processes.
    Raises NoSealingKey, EtcdError.
    """
    sealer, prefix = sealer_of(store), store.keys.dkim_keys
    start, total, resealed, closed = prefix, 0, 0, []
    while True:
        page = (await store.client.range(start, range_end(prefix), limit=_PAGE, keys_only=True)).kvs
        for kv in page:
            try:
                resealed += await _reseal_one(store, sealer, kv.key)
            except ValueError as error:
                closed.append(kv.key[len(prefix) :].decode(errors="replace"))
                log_unreadable(kv.key, error)
        total += len(page)
        if len(page) < _PAGE:
            return Resealed(total, resealed, tuple(closed))
        start = page[-1].key + b"\0"


async def _reseal_one(store: Store, sealer: Sealer, key: bytes) -> bool:
    """Whether it was sealed again. Raises ValueError where it can't be opened."""
    name, selector = store.keys.parse_dkim_key(key)

    async def decide(doubt: bool) -> bool | Write[bool]:
        found = await store.client.get(key)
        if found is None:
            return False
        if codec.decode_state(found.value, SealedKey).key_id == sealer.key_id:
            return doubt  # else another process has done it
        private = _opened(sealer, found, name, selector)
        value = SealedKey(sealer.key_id, sealer.seal(private, _sealed_for(name, selector)))
        same = modified_at(key, found.mod_revision)
        return write(store, Txn([same], [put(key, codec.encode_state(value))]), True)

    return await settled(decide)


def _opened(sealer: Sealer, kv: KeyValue, name: str, selector: str) -> bytes:
    try:
        found = codec.decode_state(kv.value, SealedKey)
        return sealer.open(found.sealed, found.key_id, _sealed_for(name, selector))
    except ValueError as error:
        raise CannotOpen(f"the DKIM key {selector} of {name} can't be opened: {error}") from None


def _sealed_for(name: str, selector: str) -> bytes:
    """What a sealed key is authenticated with: it opens as this selector's only."""
    return f"DKIM key {name}/{selector}".encode()
