"""The keys that sign tokens: which one signs, when there is a new one, and when an old one goes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace as changed

from babygun.runtime.clock import utc_now
from babygun.store import Store, codec
from babygun.store.access import signing_keys
from babygun.store.access.signing_keys import (
    CLOCKS_DIFFER,
    SPREAD,
    due,
    ended,
    make_signing_key,
    note_token_ttl,
    signing_key,
)
from babygun.store.keys import range_end
from babygun.store.records import SigningKey
from tests.support.rig import Rig

NOW = utc_now()
DAY = timedelta(days=1)
HOUR = 3600.0


def key(kid: str, made: datetime, token_ttl: float = HOUR) -> SigningKey:
    return SigningKey(kid, b"x" * 32, made, token_ttl)


def test_first_key_signs_at_once_and_a_new_one_when_all_processes_know_it() -> None:
    assert signing_key([], NOW) is None
    first = key("a", NOW)
    assert signing_key([first], NOW) is first
    second = key("b", NOW + DAY)
    keys = [second, first]
    assert signing_key(keys, second.created_at) is first
    assert signing_key(keys, second.created_at + SPREAD) is second


def test_key_is_due_when_there_is_none_and_after_its_period() -> None:
    assert due([], 0, NOW)
    keys = [key("a", NOW - 9 * DAY), key("b", NOW - DAY)]
    assert not due(keys, 2 * 86_400, NOW) and not due(keys, 0, NOW + 900 * DAY)
    assert due(keys, 86_400, NOW)


def test_old_key_goes_when_its_longest_token_has_ended_and_the_newest_stays() -> None:
    old, new = key("a", NOW - 9 * DAY, token_ttl=2 * HOUR), key("b", NOW)
    end = NOW + SPREAD + timedelta(hours=2) + CLOCKS_DIFFER
    assert ended([old, new], HOUR, end - timedelta(seconds=1)) == []
    assert ended([old, new], HOUR, end) == [old]
    assert ended([old, new], 3 * HOUR, end) == []


async def kept(store: Store) -> list[SigningKey]:
    prefix = store.keys.signing_keys
    found = await store.client.range(prefix, range_end(prefix))
    return [codec.decode_state(kv.value, SigningKey) for kv in found.kvs]


async def test_signing_key_made_by_many_at_once_is_one(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        made = await asyncio.gather(*(make_signing_key(rig.store, "a1") for _ in range(10)))
        assert sum(made) == 1 and len(await kept(rig.store)) == number
        later = utc_now() + timedelta(seconds=rig.store.settings.signing_key_period)
        monkeypatch.setattr(signing_keys, "utc_now", lambda at=later: at)


async def test_key_knows_the_longest_life_of_its_tokens(rig: Rig) -> None:
    await make_signing_key(rig.store, "a1")
    (made,) = await kept(rig.store)
    assert made.token_ttl == rig.store.settings.token_ttl
    for ttl, known in ((9000.0, 9000.0), (60.0, 9000.0)):
        async with Store(replace(rig.store.settings, token_ttl=ttl)) as own:
            await note_token_ttl(own, made)
        assert await kept(rig.store) == [changed(made, token_ttl=known)]
