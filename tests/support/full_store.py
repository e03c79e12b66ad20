"""Fills an etcd up to its alarm with keys that are not Babygun's, and deletes them again."""

from __future__ import annotations

import pytest

from babygun.errors import OutOfSpace
from babygun.store import Store


async def fill_by_others(store: Store, size: int) -> None:
    """Foreign keys of ``size`` bytes, up to the alarm."""
    # One at a time: etcd accepts many that come before its file has grown.
    with pytest.raises(OutOfSpace):
        for number in range(1000):
            await store.client.put(b"/other/%d" % number, b"x" * size)


async def delete_others(store: Store) -> None:
    for kv in (await store.client.range(b"/other/", b"/other0", keys_only=True)).kvs:
        await store.client.delete(kv.key)
