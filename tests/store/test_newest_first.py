"""Keys are read from the newest, in windows of time that fit what is there."""

from __future__ import annotations

import random

import pytest

from babygun.email.ids import email_id
from babygun.etcd.client import Range
from babygun.store.newest_first import newest_end, newest_first
from tests.support.rig import Rig

NOW_MS = 1_795_597_200_000


@pytest.mark.parametrize(
    "ages",
    [
        [],
        [0],
        [7] * 250,
        [n * n * 1000 for n in range(60)],
        [*range(300), *(86_400_000 + n for n in range(300))],
        [-3_600_000, 0, 5],
    ],
    ids=["none", "one", "all in one millisecond", "ever rarer", "two crowds", "a clock ahead"],
)
@pytest.mark.parametrize("chunk", [3, 100])
async def test_each_key_comes_once_and_the_newest_first(
    rig: Rig, ages: list[int], chunk: int
) -> None:
    client, prefix = rig.store.client, rig.store.keys.prefix + b"newest/"
    made = [
        prefix + email_id((NOW_MS - age) * 1_000_000, f"{random.getrandbits(64):016x}").encode()
        for age in ages
    ]
    for key in made:
        await client.put(key, b"")
    reads = 0

    async def read(start: bytes, end: bytes, *, limit: int, keys_only: bool = False) -> Range:
        nonlocal reads
        reads += 1
        return await client.range(start, end, limit=limit, keys_only=keys_only)

    end, end_ms = await newest_end(read, prefix, NOW_MS + 1)
    found = [
        kv.key
        async for kvs in newest_first(read, prefix, chunk, end=end, end_ms=end_ms)
        for kv in kvs
    ]
    assert found == sorted(made, reverse=True)
    assert reads < 60 + 2 * len(ages), "not a read for each millisecond"
