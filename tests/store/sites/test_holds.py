"""Holds of sites in etcd: the first writer wins, one worker has a turn, a later hold stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from babygun.email.tries import RecipientResult
from babygun.errors import LeaseNotFound
from babygun.etcd.client import Range
from babygun.runtime.clock import utc_now
from babygun.runtime.tasks import cancel_all
from babygun.store import codec
from babygun.store.records import Hold
from babygun.store.sites.holds import (
    Holds,
    begin,
    begin_by_operator,
    end,
    list_holds,
    quote,
    take_turn,
)
from tests.support.processes import PATIENCE
from tests.support.rig import Rig

REFUSED = RecipientResult("hold", "authentication", 535, "5.7.8", "Authentication failed")
BLOCKED = RecipientResult("hold", "ip_block", 554, "5.7.1", "Blocked \x1b[31m" + "x" * 2000)


@asynccontextmanager
async def follows(holds: Holds) -> AsyncIterator[None]:
    following = asyncio.create_task(holds.run())
    try:
        await asyncio.wait_for(holds.complete.wait(), PATIENCE)
        yield
    finally:
        await cancel_all(following)


async def test_hold_that_many_workers_begin_at_once_is_written_by_one(rig: Rig) -> None:
    begun = await asyncio.gather(
        *(begin(rig.store, "main", REFUSED, worker_id=f"w{n}") for n in range(20))
    )
    (held,) = [one for one in begun if one is not None]
    (kept,) = await list_holds(rig.store)
    assert kept == held.hold
    assert (kept.reason, kept.status_code, kept.probes) == ("authentication", 535, 0)
    assert kept.since < kept.probe_at < kept.until


async def test_worker_that_comes_second_leaves_no_lease(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted, grant = list[int](), rig.store.client.grant

    async def noted(ttl: int) -> int:
        granted.append(await grant(ttl))
        return granted[-1]

    monkeypatch.setattr(rig.store.client, "grant", noted)
    held = await begin(rig.store, "main", REFUSED, worker_id="w1")
    assert held and not await begin(rig.store, "main", REFUSED, worker_id="w2")
    assert await take_turn(rig.store, held, worker_id="w1")
    assert not await take_turn(rig.store, held, worker_id="w2")
    assert len(granted) == 4
    for of_the_second in granted[1::2]:
        with pytest.raises(LeaseNotFound):
            await rig.store.client.put(rig.store.keys.hold("other"), b"", of_the_second)


async def test_hold_is_on_a_lease_that_outlives_its_next_probe(rig: Rig) -> None:
    held = await begin(rig.store, "main", REFUSED, worker_id="w1")
    assert held
    kv = (await rig.store.client.range(rig.store.keys.hold("main"), b"")).kvs[0]
    assert kv.lease


async def test_turn_to_probe_is_taken_by_one_worker(rig: Rig) -> None:
    held = await begin(rig.store, "main", REFUSED, worker_id="w1")
    assert held
    turns = await asyncio.gather(
        *(take_turn(rig.store, held, worker_id=f"w{n}") for n in range(20))
    )
    (turn,) = [one for one in turns if one is not None]
    assert (turn.hold.probes, turn.created) == (1, held.created)
    assert turn.hold.probe_at > held.hold.probe_at and turn.hold.since == held.hold.since
    assert await take_turn(rig.store, turn, worker_id="w9")


async def test_end_of_a_hold_leaves_a_later_one(rig: Rig) -> None:
    first = await begin(rig.store, "main", REFUSED, worker_id="w1")
    assert first
    turn = await take_turn(rig.store, first, worker_id="w2")
    assert turn and not await end(rig.store, first), "its state has changed"
    assert await end(rig.store, turn) and not await end(rig.store, turn)
    later = await begin(rig.store, "main", REFUSED, worker_id="w1")
    assert later and not await end(rig.store, first)
    assert await list_holds(rig.store) == [later.hold]
    assert not await take_turn(rig.store, turn, worker_id="w2")


async def test_end_of_a_hold_leaves_that_of_an_operator_which_replaced_it(rig: Rig) -> None:
    first = await begin(rig.store, "main", REFUSED, worker_id="w1")
    until = utc_now() + timedelta(hours=1)
    kept = await begin_by_operator(rig.store, "main", "they asked us to", until=until, by="ops")
    assert first and not await end(rig.store, first)
    assert await list_holds(rig.store) == [kept]


async def test_quote_keeps_the_servers_newest_words_short_and_printable(rig: Rig) -> None:
    held = await begin(rig.store, "main", REFUSED, worker_id="w1")
    assert held and await quote(rig.store, held, REFUSED) is None, "nothing new"
    quoted = await quote(rig.store, held, BLOCKED)
    assert quoted
    words = quoted.hold.status_reason or ""
    assert len(words.encode()) <= 512 and words.isprintable()
    assert (quoted.hold.reason, quoted.hold.since) == ("ip_block", held.hold.since)


async def test_holds_are_followed_and_a_key_put_by_hand_stops_nobody(rig: Rig) -> None:
    changes: asyncio.Queue[str] = asyncio.Queue()
    holds = Holds(rig.store, changes.put_nowait)
    await rig.store.client.put(rig.store.keys.hold("broken"), b"no JSON")
    async with follows(holds), asyncio.timeout(PATIENCE):
        held = await begin(rig.store, "main", REFUSED, worker_id="w1")
        assert held and await changes.get() == "main"
        assert holds.by_name == {"main": held}
        await rig.store.client.delete(rig.store.keys.hold("main"))
        assert await changes.get() == "main"
        assert not holds.by_name


async def test_hold_of_data_that_etcd_has_lost_is_forgotten(rig: Rig) -> None:
    """Its revisions begin again, so the hold seems to be newer than all that is read."""
    holds = Holds(rig.store)
    lost, kept = [await begin(rig.store, name, REFUSED, worker_id="w1") for name in ("a", "b")]
    assert lost and kept
    holds.learn(lost._replace(created=10**15, revision=10**15))
    holds.learn(kept)
    await rig.store.client.delete(rig.store.keys.hold("a"))
    await holds.read()
    assert holds.by_name == {"b": kept}


async def test_hold_whose_end_was_read_is_not_learnt_again_from_before(rig: Rig) -> None:
    """News of the beginning may come late, from the watch or from the process that wrote it."""
    holds = Holds(rig.store)
    ended, kept = [await begin(rig.store, name, REFUSED, worker_id="w1") for name in ("a", "b")]
    assert ended and kept
    await rig.store.client.delete(rig.store.keys.hold("a"))
    await holds.read()
    holds.learn(ended)
    assert holds.by_name == {"b": kept}


async def test_hold_that_ends_while_it_is_read_is_not_known(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: asyncio.Queue[str] = asyncio.Queue()
    holds = Holds(rig.store, changes.put_nowait)
    read = rig.store.client.range

    async def overtaken(*words: Any, **more: Any) -> Range:
        found = await read(*words, **more)
        await rig.store.client.delete(rig.store.keys.hold("main"))
        assert await changes.get() == "main"  # the watch knows of its end
        return found

    async with follows(holds), asyncio.timeout(PATIENCE):
        await begin(rig.store, "main", REFUSED, worker_id="w1")
        assert await changes.get() == "main"
        with monkeypatch.context() as patch:
            patch.setattr(rig.store.client, "range", overtaken)
            await holds.read()
        assert not holds.by_name


async def test_hold_that_was_changed_after_the_backup_that_was_restored_is_as_etcd_has_it(
    rig: Rig,
) -> None:
    """The restored key is older than what is known, but etcd's revision is not."""
    holds = Holds(rig.store)
    restored = await begin(rig.store, "a", REFUSED, worker_id="w1")
    assert restored
    await begin(rig.store, "b", REFUSED, worker_id="w1")
    holds.learn(restored._replace(revision=restored.revision + 1))
    await holds.read()
    assert holds.by_name["a"] == restored


def test_hold_of_a_later_version_can_be_read() -> None:
    data = (
        b'{"site":"main","reason":"operator","since":"2026-11-25T09:00:00Z","set_by":"ann",'
        b'"probe_at":"2026-11-25T09:00:00Z","until":"2026-11-25T09:00:00Z","more":1}'
    )
    assert codec.decode_state(data, Hold).reason == "operator"
