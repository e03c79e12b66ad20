"""MTA-STS policies in etcd: one write wins, and all workers follow."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from msgspec.structs import replace

from babygun.routing.sts import StsPolicy
from babygun.runtime.clock import utc_now
from babygun.runtime.tasks import cancel_all
from babygun.store.tls_policies.known import (
    KeptPolicy,
    KnownPolicies,
    StoredPolicy,
    ends,
    remove,
    write,
)
from tests.support.rig import Rig

NOW = utc_now()
POLICY = StoredPolicy(
    domain="a.example",
    id="a1",
    policy=StsPolicy("enforce", ("mx.a.example", "*.mx.a.example"), 86400),
    fetched_at=NOW,
    until=NOW + timedelta(days=1),
    used_at=NOW,
)


async def read(rig: Rig) -> dict[str, KeptPolicy]:
    known = KnownPolicies(rig.store)
    await known.read()
    return known.by_name


async def test_policy_is_read_as_it_was_written(rig: Rig) -> None:
    kept = await write(rig.store, POLICY, None)
    assert await read(rig) == {"a.example": kept}


async def test_first_writer_wins_and_the_next_change_needs_its_revision(rig: Rig) -> None:
    both = await asyncio.gather(write(rig.store, POLICY, None), write(rig.store, POLICY, None))
    [kept] = [each for each in both if each]
    assert await write(rig.store, replace(POLICY, id="a2"), kept)
    assert await write(rig.store, replace(POLICY, id="a3"), kept) is None
    assert (await read(rig))["a.example"].stored.id == "a2"


async def test_policy_that_was_renewed_meanwhile_is_not_deleted(rig: Rig) -> None:
    kept = await write(rig.store, POLICY, None)
    assert kept is not None
    renewed = await write(rig.store, replace(POLICY, id="a2"), kept)
    assert renewed is not None
    await remove(rig.store, kept)
    assert await read(rig) == {"a.example": renewed}
    await remove(rig.store, renewed)
    assert await read(rig) == {}


async def test_worker_follows_what_others_write(rig: Rig) -> None:
    known = KnownPolicies(rig.store)
    running = asyncio.create_task(known.run())
    await known.complete.wait()
    assert known.by_name == {}
    await write(rig.store, POLICY, None)
    await rig.seen(rig.store.keys.tls_policy("a.example"), lambda value: value or None)
    while "a.example" not in known.by_name:  # noqa: ASYNC110 (the watch is about to say it)
        await asyncio.sleep(0)
    await cancel_all(running)


def test_policy_ends_when_its_age_says_so_but_not_at_once() -> None:
    policy = POLICY.policy
    assert ends(policy, NOW, least=300) == NOW + timedelta(days=1)
    assert ends(replace(policy, max_age=0), NOW, least=300) == NOW + timedelta(minutes=5)
