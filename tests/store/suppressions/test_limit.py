"""How many suppressions a client may have by its own calls."""

from __future__ import annotations

from dataclasses import replace

import pytest

from babygun.email.suppression import Suppression
from babygun.errors import Conflict
from babygun.runtime.clock import utc_now
from babygun.store import Store
from babygun.store.suppressions import limit as module
from babygun.store.suppressions.limit import SuppressionLimit
from babygun.store.suppressions.suppressions import NewSuppression, add, add_page, remove
from tests.support.rig import Rig

MANUAL = Suppression("manual", utc_now())


def limited(store: Store, most: int) -> SuppressionLimit:
    own = Store(replace(store.settings, max_suppressions=most))
    own.client = store.client
    return SuppressionLimit(own)


def page(*names: str) -> list[NewSuppression]:
    return [NewSuppression(f"{name}@example.org", MANUAL) for name in names]


async def test_client_has_no_more_suppressions_than_the_setting_and_keeps_what_it_has(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, limit = rig.store, limited(rig.store, 3)
    assert await add(store, "c:1", "a@example.org", MANUAL, limit=limit)
    assert (await add_page(store, "c:1", page("a", "b", "c"), limit=limit)).added == 2
    with pytest.raises(Conflict, match=r"has 3 suppressions, and may have 3: take off .*max_supp"):
        await add(store, "c:1", "d@example.org", MANUAL, limit=limit)
    with pytest.raises(Conflict):
        await add_page(store, "c:1", page("c", "d"), limit=limit)
    assert (await add_page(store, "c:1", page("a", "b", "c"), limit=limit)).kept == 3
    assert (await add(store, "c:2", "d@example.org", MANUAL, limit=limit))[1]
    assert (await add(store, "c:1", "bounced@example.org", MANUAL))[1]
    for name in ("a", "bounced"):
        await remove(store, "c:1", f"{name}@example.org")
    monkeypatch.setattr(module, "_KEPT_AT_THE_LIMIT", 0.0)
    assert (await add(store, "c:1", "d@example.org", MANUAL, limit=limit))[1]


async def test_any_number_is_taken_without_a_limit(rig: Rig) -> None:
    limit = limited(rig.store, 0)
    await limit.take("c:1", 10**9)
