"""How the audit is read."""

from __future__ import annotations

import pytest

from babygun.store.audit.entries import new_entry, write
from babygun.store.audit.listing import Wanted, list_entries
from tests.support.rig import Rig


async def test_page_of_one_that_is_rare_takes_few_reads(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rare = new_entry("rare", by="console", via="api")
    await write(rig.store, rare)
    for _ in range(60):
        await write(rig.store, new_entry("usual", by="console", via="api"))
    reads, read = 0, rig.store.client.range

    async def counted(*arguments: object, **how: object) -> object:
        nonlocal reads
        reads += 1
        return await read(*arguments, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(rig.store.client, "range", counted)
    page = await list_entries(rig.store, Wanted(action="rare"), limit=1)
    assert page.entries == [rare] and reads < 15
