"""The keys of return paths, in a real etcd."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from babygun.email.ids import email_id
from babygun.email.return_path import local_part, of_recipient
from babygun.runtime.clock import utc_now
from babygun.runtime.tasks import cancel_all
from babygun.store import secret_keys as module
from babygun.store.return_path_keys import ReturnPathKeys
from tests.support.processes import PATIENCE
from tests.support.rig import Rig

DAY = 86_400
ID = email_id(1_764_000_000_123_456_789, "0123456789abcdef")
PATH = of_recipient(ID, "ann@example.org", 0, "shop:1")


async def test_return_path_of_one_process_is_read_by_another(rig: Rig) -> None:
    key = await ReturnPathKeys(rig.store).of_time(utc_now())
    reading = ReturnPathKeys(rig.store)
    assert reading.read(local_part(PATH, key.secret)) is None
    task = asyncio.create_task(reading.run())
    async with asyncio.timeout(PATIENCE):
        while not reading.known:  # noqa: ASYNC110 (the first read brings it)
            await asyncio.sleep(0.01)
    await cancel_all(task)
    assert reading.read(local_part(PATH, key.secret)) == PATH
    assert reading.read(local_part(PATH, b"forged" * 5)) is None


async def test_key_is_kept_for_its_retention(rig: Rig) -> None:
    key = await ReturnPathKeys(rig.store).current()
    kv = await rig.store.client.get(rig.store.keys.return_path_key(key.kid))
    assert kv is not None and len(key.secret) == 32
    assert await rig.store.client.granted(kv.lease) == 91 * DAY


async def test_email_keeps_the_key_of_its_acceptance_when_a_new_one_comes(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ReturnPathKeys(rig.store)
    old = await keys.current()
    accepted = utc_now()
    later = accepted + module.PERIOD
    monkeypatch.setattr(module, "utc_now", lambda: later)
    new = await keys.of_time(later + timedelta(seconds=1))
    assert new != old
    for process in (keys, ReturnPathKeys(rig.store)):
        assert await process.of_time(accepted) == old
        assert await process.of_time(old.created_at - timedelta(days=1)) == old
