"""The name of the cluster that a prefix belongs to.

The first process with a name for its cluster writes it under the prefix. A process of another
cluster then knows that it must not work there.
"""

from __future__ import annotations

from babygun.errors import SettingsError
from babygun.etcd import Txn, absent, put
from babygun.store.store import Store


async def join_cluster(store: Store) -> str:
    """Writes this cluster's name under the prefix, unless there is one, and checks it."""
    if mine := store.settings.cluster:
        await store.client.txn(
            Txn([absent(store.keys.cluster)], [put(store.keys.cluster, mine.encode())])
        )
    return await check_cluster(store)


async def check_cluster(store: Store) -> str:
    """Returns a warning, or nothing. Raises SettingsError where the prefix is another cluster's."""
    found = await store.client.get(store.keys.cluster)
    theirs = found.value.decode(errors="replace") if found else ""
    mine, prefix = store.settings.cluster, store.keys.prefix.decode()
    if not theirs or theirs == mine:
        return ""
    belongs = f"the prefix {prefix} belongs to the cluster {theirs!r}"
    if not mine:
        return f"{belongs}: set cluster to that, so that nothing is mixed"
    raise SettingsError(
        f"{belongs}, and this process to {mine!r}: set another prefix, or the right cluster"
    )
