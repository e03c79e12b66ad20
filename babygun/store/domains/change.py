"""Makes, shares, verifies and deletes sending domains: each change is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from babygun.email.model import client_id_of
from babygun.email.sending_domains import (
    DkimAlgorithm,
    DnsRecord,
    DomainStatus,
    SendingDomain,
    Verified,
    is_within,
    looked_up,
    rotated,
)
from babygun.errors import Conflict, NotFound
from babygun.etcd import (
    Compare,
    Op,
    Txn,
    all_created_before,
    delete,
    delete_range,
    get,
    modified_at,
    put,
)
from babygun.runtime.clock import utc_now
from babygun.store import codec
from babygun.store.access.clients import is_there
from babygun.store.domains.dkim_keys import new_selectors
from babygun.store.keys import range_end
from babygun.store.settled import Write, settled
from babygun.store.store import Store

MOST_DOMAINS = 100
"""Domains of one client."""
_TAKEN = (
    "another client holds this domain, or one above or below it. An operator can give it to several"
    " clients"
)


async def create_domain(
    store: Store,
    name: str,
    clients: Sequence[str],
    *,
    algorithms: Sequence[DkimAlgorithm] = ("rsa2048",),
    by_operator: bool = False,
) -> SendingDomain:
    """Makes a domain that ``clients`` (identities) hold, with a new DKIM key of each algorithm.

    ``by_operator``: other clients may hold a domain above or below it. Raises NoSealingKey,
    NotFound for a client that is not there, Conflict, EtcdError.
    """
    now = utc_now()
    selectors, key_ops = await new_selectors(store, name, algorithms)
    domain = SendingDomain(name, tuple(clients), now, now, selectors)
    names = {one.name for one in selectors}

    async def decide(_: bool) -> SendingDomain | Write[SendingDomain]:
        found = await _read_all(store)
        there = next((one for one in found.domains if one.name == name), None)
        if there and names & _selectors_of(there):  # by this call
            await store.domains.read([name])
            return there
        _check_free(domain, found.domains, by_operator)
        _check_count(clients, found.domains)
        holders = [await is_there(store, client) for client in clients]
        compares = [found.none_is_newer, *holders]
        return Write(domain, lambda: _write(store, domain, compares, key_ops))

    return await settled(decide)


async def list_domains(store: Store) -> list[SendingDomain]:
    """All domains, by name, read from etcd. Raises EtcdError."""
    return (await _read_all(store)).domains


async def read_domain(store: Store, name: str) -> SendingDomain | None:
    """Read from etcd. Raises EtcdError."""
    found = await _read(store, name)
    return found.domain if found else None


async def share_domain(store: Store, name: str, clients: Sequence[str]) -> SendingDomain:
    """Gives a domain to these clients (identities), and takes it from all others.

    Raises NotFound where there is no such domain or client, Conflict where one of them has
    MOST_DOMAINS already, EtcdError.
    """
    domains = await list_domains(store)
    before = next((one.clients for one in domains if one.name == name), ())
    _check_count([one for one in clients if one not in before], domains)

    def share(domain: SendingDomain) -> SendingDomain:
        if domain.clients == tuple(clients):
            return domain
        return replace(domain, clients=tuple(clients), updated_at=utc_now())

    return await _change(store, name, share, holders=clients)


async def rotate_keys(
    store: Store, name: str, algorithms: Sequence[DkimAlgorithm] = ()
) -> SendingDomain:
    """Makes a new DKIM key of each algorithm, by default of those that the domain has.

    It signs once it is seen in DNS; until then those of now do. Raises NotFound, NoSealingKey,
    EtcdError.
    """
    domain = await read_domain(store, name)
    if domain is None:
        raise no_such_domain(name)
    wanted = algorithms or tuple(dict.fromkeys(one.algorithm for one in domain.selectors))
    new, ops = await new_selectors(store, name, wanted)
    names = {one.name for one in new}

    def rotate(before: SendingDomain) -> SendingDomain:
        return before if names & _selectors_of(before) else rotated(before, new, utc_now())

    return await _change(store, name, rotate, ops)


async def checked(
    store: Store,
    name: str,
    records: Sequence[DnsRecord],
    status: DomainStatus,
    seen: Container[str],
    now: datetime,
) -> SendingDomain:
    """Writes what a look into DNS gave. ``seen``: the selectors whose key DNS has as it is wanted.

    New selectors that were seen sign from now on. Old ones whose time has come go, with their
    keys. Raises NotFound, EtcdError.
    """
    verified = Verified(now, status, tuple(records))
    return await _change(store, name, lambda domain: looked_up(domain, verified, seen))


async def delete_domain(store: Store, name: str, *, holder: str | None = None) -> bool:
    """Deletes a domain, its keys and its alarms. False: there is none.

    ``holder``: the identity of the client that wants it, which must be its only one. Raises
    Conflict, EtcdError.
    """
    key, ranges = store.keys.domain(name), store.keys.domain_ranges(name)
    created = 0

    async def decide(doubt: bool) -> bool | Write[bool]:
        nonlocal created
        found = await _read(store, name)
        if found is None or (doubt and found.created != created):  # by a call after this one
            return doubt
        created, revision = found.created, found.revision
        if holder is not None and found.domain.clients != (holder,):
            raise Conflict("other clients hold this domain, too: an operator can delete it")

        async def send() -> bool:
            gone = [delete(key), *(delete_range(one, range_end(one)) for one in ranges)]
            result = await store.client.txn(Txn([modified_at(key, revision)], gone))
            if result.succeeded:
                store.domains.forget(name, result.revision)
            return result.succeeded

        return Write(True, send)

    return await settled(decide)


def no_such_domain(name: str) -> NotFound:
    return NotFound(f"there is no sending domain {name}")


# --- reading and writing ---


class _Read(NamedTuple):
    """One domain as it was read. ``created`` and ``revision``: its create and mod revision."""

    domain: SendingDomain
    created: int
    revision: int


class _All(NamedTuple):
    """All domains, and the compare that none was made since they were read."""

    domains: list[SendingDomain]
    none_is_newer: Compare


async def _read(store: Store, name: str) -> _Read | None:
    """This process knows at once what it has read."""
    seen = await store.client.read([get(store.keys.domain(name))])
    found = next(iter(seen.kvs(0)), None)
    if found is None:
        store.domains.forget(name, seen.revision)
        return None
    store.domains.take(found)
    domain = codec.state_of(found, SendingDomain)
    return _Read(domain, found.create_revision, found.mod_revision) if domain else None


async def _read_all(store: Store) -> _All:
    start, end = store.keys.domains, range_end(store.keys.domains)
    found = await store.client.range(start, end)
    domains = [domain for kv in found.kvs if (domain := codec.state_of(kv, SendingDomain))]
    return _All(domains, all_created_before(start, end, found.revision + 1))


async def _change(
    store: Store,
    name: str,
    change: Callable[[SendingDomain], SendingDomain],
    ops: Sequence[Op] = (),
    holders: Sequence[str] = (),
) -> SendingDomain:
    """Replaces a domain by ``change`` of it. The keys of selectors that it drops go.

    ``change`` may be called several times, also with what it made: then it changes nothing.
    ``holders``: clients that have to be there. Raises NotFound, EtcdError.
    """

    async def decide(_: bool) -> SendingDomain | Write[SendingDomain]:
        before = await _read(store, name)
        if before is None:
            raise no_such_domain(name)
        after = change(before.domain)
        if after == before.domain:
            return after
        there = [await is_there(store, holder) for holder in holders]
        gone = [
            delete(store.keys.dkim_key(name, selector))
            for selector in _selectors_of(before.domain) - _selectors_of(after)
        ]
        same = modified_at(store.keys.domain(name), before.revision)
        return Write(after, lambda: _write(store, after, [same, *there], [*ops, *gone]))

    return await settled(decide)


def _selectors_of(domain: SendingDomain) -> set[str]:
    return {one.name for one in domain.selectors}


async def _write(
    store: Store, domain: SendingDomain, compares: Sequence[Compare], ops: Sequence[Op]
) -> bool:
    """Writes a domain, if the compares hold. This process knows it at once."""
    write = put(store.keys.domain(domain.name), codec.encode_state(domain))
    result = await store.client.txn(Txn(compares, [write, *ops]))
    if result.succeeded:
        store.domains.learn(domain, result.revision)
    return result.succeeded


# --- rules ---


def _check_free(new: SendingDomain, domains: Sequence[SendingDomain], by_operator: bool) -> None:
    """Raises Conflict where the name, or one above or below it, is another client's."""
    for one in domains:
        if one.name == new.name:
            if set(new.clients) <= set(one.clients):
                raise Conflict(f"the client holds {new.name} already")
            raise Conflict(_TAKEN)
        related = is_within(new.name, one.name) or is_within(one.name, new.name)
        if related and not by_operator and not set(new.clients) & set(one.clients):
            raise Conflict(_TAKEN)


def _check_count(clients: Sequence[str], domains: Sequence[SendingDomain]) -> None:
    """Raises Conflict where one of the clients can hold no further domain."""
    for client in clients:
        if sum(client in one.clients for one in domains) >= MOST_DOMAINS:
            raise Conflict(
                f"the client {client_id_of(client)} has {MOST_DOMAINS} domains already:"
                " delete one first"
            )
