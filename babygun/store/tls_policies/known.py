"""The MTA-STS policies that are kept: one key a domain, and a copy of all in each worker.

A policy holds until its end, whatever DNS says meanwhile: who can suppress DNS must not get mail
without TLS (RFC 8461, 5.1). So a worker knows that it has read all, before it says that a domain
has none.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from babygun.etcd import KeyValue, Txn, absent, delete, modified_at, put
from babygun.routing.sts import StsPolicy
from babygun.store import codec
from babygun.store.followed import Followed
from babygun.store.store import Store


class StoredPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """``tls-policies/<domain>``

    ``id``: in the TXT record by which it was found. ``until``: its end. ``used_at``: when mail went
    by it, within a week or so.
    """

    domain: str
    id: str
    policy: StsPolicy
    fetched_at: datetime
    until: datetime
    used_at: datetime


class KeptPolicy(NamedTuple):
    """A policy as it was read. ``revision``: the key's mod revision."""

    stored: StoredPolicy
    revision: int

    @property
    def name(self) -> str:
        return self.stored.domain


class KnownPolicies(Followed[KeptPolicy]):
    """All of them, by domain. Run :meth:`run` as a task."""

    def __init__(self, store: Store) -> None:
        super().__init__(
            store,
            store.keys.tls_policies,
            what="TLS policies",
            name_of=store.keys.last_part,
            decode=_decoded,
        )


async def write(store: Store, policy: StoredPolicy, before: KeptPolicy | None) -> KeptPolicy | None:
    """Stores a policy in place of ``before``. Raises EtcdError.

    None: another worker was first.
    """
    key = store.keys.tls_policy(policy.domain)
    compare = absent(key) if before is None else modified_at(key, before.revision)
    result = await store.client.txn(Txn([compare], [put(key, codec.encode_state(policy))]))
    return KeptPolicy(policy, result.revision) if result.succeeded else None


async def remove(store: Store, policy: KeptPolicy) -> None:
    """Deletes a policy that has ended, unless there is a newer one. Raises EtcdError."""
    key = store.keys.tls_policy(policy.name)
    await store.client.txn(Txn([modified_at(key, policy.revision)], [delete(key)]))


def ends(policy: StsPolicy, fetched_at: datetime, *, least: float) -> datetime:
    """When a policy ends that was fetched now, ``least`` seconds later at the soonest."""
    return fetched_at + timedelta(seconds=max(policy.max_age, least))


def _decoded(kv: KeyValue) -> KeptPolicy | None:
    policy = codec.state_of(kv, StoredPolicy)
    return KeptPolicy(policy, kv.mod_revision) if policy else None
