"""Puts addresses on a client's lists, takes them off, and reads single ones.

``client_id`` is an identity, ``<id>:<serial>``. An address may be written in any way:
its key has the form in which addresses are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from babygun.email.addresses import comparable
from babygun.email.suppression import ALL_MAIL, Suppression, SuppressionReason, replaces
from babygun.errors import EtcdUnavailable, LeaseNotFound, NotFound, OutcomeUnknown
from babygun.etcd import Compare, KeyValue, Op, Txn, get, nesting, only_if, put, unchanged
from babygun.runtime.metrics import SUPPRESSIONS_WRITTEN
from babygun.runtime.settings import Settings
from babygun.store import codec
from babygun.store.settled import Write, delete_key, settled
from babygun.store.store import Store
from babygun.store.suppressions.limit import SuppressionLimit

_NO_CLIENT = "there is no such client any more"
_TRIES = 8  # of a change that others' changes of the same key meet
# Addresses of one page of an import.
PAGE = 1000


class NewSuppression(Struct, frozen=True, gc=False):
    """An address that is to go on a list."""

    address: str
    suppression: Suppression
    list: str = ALL_MAIL


class Imported(Struct, frozen=True, gc=False):
    """``added``: so many are on the list by this call. ``kept``: so many were there already."""

    added: int
    kept: int


def until_of(settings: Settings, reason: SuppressionReason, now: datetime) -> datetime | None:
    """When a suppression that is written at ``now`` ends; None: never."""
    seconds = (
        settings.suppress_hard_bounces if reason == "hard_bounce" else settings.suppress_others
    )
    return now + timedelta(seconds=seconds) if seconds else None


async def add(
    store: Store,
    client_id: str,
    address: str,
    suppression: Suppression,
    *,
    list_name: str = ALL_MAIL,
    compares: Sequence[Compare] = (),
    limit: SuppressionLimit | None = None,
) -> tuple[Suppression, bool]:
    """Puts an address on a list. Returns what is there then, and whether this call wrote it.

    What is there stays, unless the new one replaces it (babygun.email.suppression). ``compares``:
    that the client is there, see :func:`babygun.store.access.clients.is_there`. ``limit``: of the
    client. Raises EtcdError, NotFound if it is not, and Conflict if it has too many, or if the
    suppression changes all the time.
    """
    key = store.keys.suppression(client_id, list_name, comparable(address))
    counted = sent = False

    async def decide(_: bool) -> tuple[Suppression, bool] | Write[tuple[Suppression, bool]]:
        nonlocal counted, sent
        found = await store.client.get(key)
        old = codec.decode_suppression(found.value) if found else None
        if old is not None and not replaces(suppression, old, suppression.since):
            return old, old == suppression
        if limit is not None and found is None and not counted:
            await limit.take(client_id, 1)
            counted = True
        sent = True
        return Write((suppression, True), lambda: _put(store, key, suppression, found, compares))

    there, added = await settled(decide, tries=_TRIES)
    if added and sent:
        SUPPRESSIONS_WRITTEN[suppression.reason].inc()
    return there, added


async def _put(
    store: Store,
    key: bytes,
    suppression: Suppression,
    found: KeyValue | None,
    compares: Sequence[Compare],
) -> bool:
    """Writes over what was found. False: something else is there. Raises NotFound, EtcdError."""
    while True:
        lease = await lease_of(store, suppression, 1)
        try:
            result = await store.client.txn(
                Txn(
                    [unchanged(key, found), *compares],
                    [put(key, codec.encode_state(suppression), lease)],
                    [get(key)],
                )
            )
        except LeaseNotFound:
            store.suppression_leases.forget(lease)
            continue
        if not result.succeeded and next(iter(result.kvs(0)), None) == found:
            raise NotFound(_NO_CLIENT)
        return result.succeeded


async def lease_of(store: Store, suppression: Suppression, keys: int) -> int:
    """The lease for ``keys`` suppressions like this one; 0: they stay."""
    ends = _goes_with_lease(store, suppression, await store.clock.now())
    return await store.suppression_leases.lease(keys) if ends else 0


def _goes_with_lease(store: Store, suppression: Suppression, now: datetime) -> bool:
    """Whether a key ends before the leases that are given out now. If not, it stays.

    It counts no more after its end all the same.
    """
    settings = store.settings
    longest = max(settings.suppress_hard_bounces, settings.suppress_others)
    until = suppression.until
    return until is not None and until <= now + timedelta(seconds=longest)


async def get_one(
    store: Store, client_id: str, address: str, *, list_name: str = ALL_MAIL
) -> Suppression | None:
    """An address on a list, if it is there and counts. Raises EtcdError."""
    found = await store.client.get(
        store.keys.suppression(client_id, list_name, comparable(address))
    )
    suppression = codec.decode_suppression(found.value) if found else None
    now = await store.clock.now()
    return suppression if suppression is not None and suppression.counts(now) else None


async def remove(
    store: Store, client_id: str, address: str, *, list_name: str = ALL_MAIL
) -> Suppression | None:
    """Takes an address off a list. Returns what was there, None if nothing was.

    Raises EtcdError, and Conflict if it changes all the time.
    """
    key = store.keys.suppression(client_id, list_name, comparable(address))
    gone = await delete_key(store, key, tries=_TRIES)
    return codec.decode_suppression(gone.value) if gone else None


async def add_page(
    store: Store,
    client_id: str,
    page: Sequence[NewSuppression],
    *,
    compares: Sequence[Compare] = (),
    limit: SuppressionLimit | None = None,
    tries: int = _TRIES,
) -> Imported:
    """Puts up to PAGE addresses on lists, as :func:`add` does.

    After an error some of them may be there. The call can be repeated. Raises EtcdError, NotFound
    and Conflict as ``add``.
    """
    now = await store.clock.now()
    left: dict[bytes, Suppression] = {}  # neither written nor kept so far
    for new in page:
        key = store.keys.suppression(client_id, new.list, comparable(new.address))
        if (first := left.get(key)) is None or replaces(new.suppression, first, now):
            left[key] = new.suppression
    addresses, added, counted = len(left), 0, False

    async def decide(doubt: bool) -> bool | Write[bool]:
        nonlocal added, counted
        there = await store.client.get_many(list(left))
        if limit is not None and not counted:
            # One that goes later was counted, so another may take its place.
            await limit.take(client_id, sum(key not in there for key in left))
            counted = True
        stays = _stays(left, there, now)
        if doubt:
            added += _count(left, [key for key, old in stays.items() if old == left[key]])
        for key in stays:
            left.pop(key, None)
        return Write(True, lambda: send(there)) if left else True

    async def send(there: Mapping[bytes, KeyValue]) -> bool:
        nonlocal added
        added += _count(left, await _put_page(store, left, there, compares, now))
        return not left

    try:
        await settled(decide, tries=tries)
    except EtcdUnavailable as error:
        if added:
            raise OutcomeUnknown(str(error)) from None
        raise
    return Imported(added, addresses - added)


def _stays(
    wanted: Mapping[bytes, Suppression], there: Mapping[bytes, KeyValue], now: datetime
) -> dict[bytes, Suppression]:
    """What is there and is not replaced."""
    old = {key: codec.decode_suppression(kv.value) for key, kv in there.items()}
    return {key: one for key, one in old.items() if not replaces(wanted[key], one, now)}


def _count(left: dict[bytes, Suppression], written: Sequence[bytes]) -> int:
    """Takes those off ``left`` that are there by this call. Returns how many they are."""
    for key in written:
        SUPPRESSIONS_WRITTEN[left.pop(key).reason].inc()
    return len(written)


async def _put_page(
    store: Store,
    wanted: Mapping[bytes, Suppression],
    there: Mapping[bytes, KeyValue],
    compares: Sequence[Compare],
    now: datetime,
) -> list[bytes]:
    """Writes each key that is as it was read. Returns those that it wrote."""
    ending = {key for key, new in wanted.items() if _goes_with_lease(store, new, now)}
    while True:
        lease = await store.suppression_leases.lease(len(ending)) if ending else 0
        ops: list[Op] = [
            only_if(
                [unchanged(key, there.get(key))],
                put(key, codec.encode_state(new), lease if key in ending else 0),
            )
            for key, new in wanted.items()
        ]
        try:
            result = await store.client.txn(Txn(compares, ops, nested=nesting(ops)))
        except LeaseNotFound:
            store.suppression_leases.forget(lease)
            continue
        if not result.succeeded:
            raise NotFound(_NO_CLIENT)
        return [key for index, key in enumerate(wanted) if result.done(index)]
