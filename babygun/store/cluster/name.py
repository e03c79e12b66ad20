"""Whose the keys under a prefix are: the first process that has a name for its cluster leaves it there, and others know that they are wrong here."""

from __future__ import annotations

from babygun.errors import SettingsError
from babygun.etcd import Txn, absent, put
from babygun.store.store import Store


async def join(store: Store) -> str:
    """Leaves this cluster's name under the prefix, unless there is one. Returns what to warn of, empty for nothing.

    Raises SettingsError where the prefix is another cluster's, EtcdError where etcd doesn't answer.
    """
    if mine := store.settings.cluster:
        await store.client.txn(
            Txn([absent(store.keys.cluster)], [put(store.keys.cluster, mine.encode())])
        )
    return await belongs(store)


async def belongs(store: Store) -> str:
    """The same, without leaving a name."""
    found = await store.client.get(store.keys.cluster)
    theirs = found.value.decode(errors="replace") if found else ""
    mine, prefix = store.settings.cluster, store.keys.prefix.decode()
    if not theirs or theirs == mine:
        return ""
    if not mine:
        return f"the prefix {prefix} belongs to the cluster {theirs!r}: set cluster to that, so that nothing is mixed"
    raise SettingsError(
        f"the prefix {prefix} belongs to the cluster {theirs!r}, and this process to {mine!r}: set another prefix, or the right cluster"
    )
