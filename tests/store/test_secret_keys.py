"""The keys of links to unsubscribe, in a real etcd."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.runtime.tasks import cancel_all
from babygun.store import Store
from babygun.store import secret_keys as module
from babygun.store.keys import range_end
from babygun.store.secret_keys import PERIOD, SecretKey
from babygun.store.unsubscribe.keys import UnsubscribeKeys
from tests.support.processes import PATIENCE
from tests.support.rig import Rig, changed
from tests.support.sleeping import sleep_for

YEAR = 365 * 86_400


async def kids(store: Store) -> list[str]:
    prefix = store.keys.unsubscribe_keys
    found = await store.client.range(prefix, range_end(prefix), keys_only=True)
    return [store.keys.last_part(kv.key) for kv in found.kvs]


async def lease_of(store: Store, kid: str) -> int:
    kv = await store.client.get(store.keys.unsubscribe_key(kid))
    assert kv is not None
    return kv.lease


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes' clocks are a period ahead."""
    monkeypatch.setattr(module, "utc_now", lambda: utc_now() + PERIOD)


async def test_key_is_made_when_it_is_first_needed_and_used_from_then_on(rig: Rig) -> None:
    assert await kids(rig.store) == []
    keys = UnsubscribeKeys(rig.store)
    key = await keys.current()
    assert await kids(rig.store) == [key.kid]
    assert (len(key.secret), await keys.current()) == (64, key)
    assert await UnsubscribeKeys(rig.store).current() == key
    assert await UnsubscribeKeys(rig.store).find(key.kid) == key


async def test_key_that_many_processes_need_at_once_is_made_once(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(Store(settings)) for _ in range(10)]
        processes = [UnsubscribeKeys(store) for store in stores]
        found = await asyncio.gather(*(one.current() for one in processes for _ in range(3)))
        assert len({key.kid for key in found}) == 1
        assert await kids(stores[0]) == [found[0].kid]


async def test_key_lives_for_its_retention_from_its_last_use(rig: Rig) -> None:
    key = await UnsubscribeKeys(rig.store).current()
    lease = await lease_of(rig.store, key.kid)
    assert await rig.store.client.granted(lease) == YEAR + 86_400


async def test_use_renews_a_keys_lease_once_a_day(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed: list[int] = []
    keep_alive = type(rig.store.client).keep_alive

    async def counted(client: object, lease: int, **options: object) -> int:
        renewed.append(lease)
        return await keep_alive(client, lease, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(type(rig.store.client), "keep_alive", counted)
    keys = UnsubscribeKeys(rig.store)
    key = await keys.current()
    lease = await lease_of(rig.store, key.kid)
    for _ in range(3):
        await keys.current()
        await keys.find(key.kid)
    assert renewed == [lease]
    sleep_for(86_400.0, monkeypatch)
    await keys.find(key.kid)
    assert renewed == [lease, lease]


async def test_new_key_comes_after_a_period_and_the_old_one_still_counts(
    rig: Rig, later: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(module, "utc_now", utc_now)
        keys = UnsubscribeKeys(rig.store)
        old = await keys.current()
    one, two = UnsubscribeKeys(rig.store), UnsubscribeKeys(rig.store)
    found = await asyncio.gather(keys.current(), one.current(), two.current())
    [new] = set(found)
    assert new != old and sorted(await kids(rig.store)) == sorted([old.kid, new.kid])
    assert keys.secret_of(old.kid) == one.secret_of(old.kid) == old.secret
    assert await two.find(old.kid) == old


async def test_key_that_an_operator_deletes_is_not_used_any_more(rig: Rig) -> None:
    keys = UnsubscribeKeys(rig.store)
    task = asyncio.create_task(keys.run())
    old = await keys.current()
    await rig.store.client.revoke(await lease_of(rig.store, old.kid))
    async with asyncio.timeout(PATIENCE):
        while keys.secret_of(old.kid) is not None:  # noqa: ASYNC110 (the watch brings it)
            await asyncio.sleep(0.01)
    new = await keys.find(old.kid)
    assert new != old and await kids(rig.store) == [new.kid]
    await cancel_all(task)


async def test_keys_made_by_others_are_followed(rig: Rig) -> None:
    keys = UnsubscribeKeys(rig.store)
    assert not keys.known
    task = asyncio.create_task(keys.run())
    key = await UnsubscribeKeys(rig.store).current()
    async with asyncio.timeout(PATIENCE):
        while keys.secret_of(key.kid) is None:  # noqa: ASYNC110 (the watch brings it)
            await asyncio.sleep(0.01)
    assert keys.known
    await cancel_all(task)


async def test_key_written_by_hand_is_passed_over(rig: Rig) -> None:
    put = rig.store.client.put
    await put(rig.store.keys.unsubscribe_key("00000000"), b"{}")
    short = SecretKey("11111111", b"short", utc_now() - timedelta(days=1))
    await put(rig.store.keys.unsubscribe_key("11111111"), module.codec.encode_state(short))
    key = await UnsubscribeKeys(rig.store).current()
    assert key.kid not in ("00000000", "11111111")


async def test_shorter_retention_counts_for_keys_made_from_then_on(settings: Settings) -> None:
    async with Store(changed(settings, unsubscribe_retention=2 * 86_400.0)) as store:
        key = await UnsubscribeKeys(store).current()
        assert await store.client.granted(await lease_of(store, key.kid)) == 3 * 86_400
