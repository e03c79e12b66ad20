"""An API process keeps the signing keys: a new one in turn, and no old ones."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from babygun.api.access import signing_key
from babygun.runtime.clock import utc_now
from babygun.store import Store
from babygun.store.access import signing_keys
from babygun.store.access.known_clients import KnownClients
from babygun.store.audit.listing import Wanted, list_entries
from babygun.store.keys import range_end
from tests.support.processes import PATIENCE


async def test_key_is_replaced_after_its_period_and_deleted_after_its_last_token(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, changed = KnownClients(store), asyncio.Event()
    known.on_change.append(changed.set)
    task = asyncio.create_task(known.run())
    now = utc_now()

    async def keep(after: float) -> set[str]:
        """The ids of the keys that are there after so many seconds, and a look at them."""
        at = now + timedelta(seconds=after)
        monkeypatch.setattr(signing_keys, "utc_now", lambda: at)
        await signing_key._keep(store, known, "a1", at)
        prefix = store.keys.signing_keys
        found = await store.client.range(prefix, range_end(prefix), keys_only=True)
        kept = {store.keys.last_part(kv.key) for kv in found.kvs}
        async with asyncio.timeout(PATIENCE):
            while set(known.signing_keys) != kept:
                changed.clear()
                await changed.wait()
        return kept

    try:
        await known.ready.wait()
        period = store.settings.signing_key_period
        first = await keep(0)
        assert len(first) == 1 and await keep(period - 1) == first
        both = await keep(period)
        assert len(both) == 2 and first < both
        last_token = period + store.settings.token_ttl + 60
        assert await keep(last_token) == both
        assert await keep(last_token + 3600) == both - first
        changes = (await list_entries(store, Wanted(by="a1"), limit=9)).entries
        assert [(e.action, e.target) for e in changes] == [
            ("deleteSigningKey", *first),
            ("makeSigningKey", *(both - first)),
            ("makeSigningKey", *first),
        ]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
