"""Pages of suppressions: order, prefix, filters, cursors."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from babygun.email.suppression import ALL_MAIL, Suppression
from babygun.runtime.clock import utc_now
from babygun.store.suppressions import listing
from babygun.store.suppressions.listing import list_suppressions
from babygun.store.suppressions.suppressions import NewSuppression, add_page
from tests.support.rig import Rig

NOW = utc_now()
MANUAL = Suppression("manual", NOW)
ENTRIES = {
    "a:1": [(ALL_MAIL, "ann@x.example"), (ALL_MAIL, "bob@x.example"), ("news", "ann@y.example")],
    "b:2": [("news", "anna@x.example"), ("offers", "ann@x.example"), ("offers", "zoe@x.example")],
}


async def _fill(rig: Rig) -> None:
    for client_id, entries in ENTRIES.items():
        page = [NewSuppression(address, MANUAL, name) for name, address in entries]
        await add_page(rig.store, client_id, page)


async def _all(rig: Rig, *, limit: int = 100, **wanted: Any) -> list[tuple[str, str, str]]:
    """All pages, as client, list and address."""
    found: list[tuple[str, str, str]] = []
    cursor: str | None = None
    while True:
        page = await list_suppressions(rig.store, limit=limit, cursor=cursor, **wanted)
        assert len(page.found) <= limit
        found += [(one.client_id, one.list, one.address) for one in page.found]
        if (cursor := page.cursor) is None:
            return found


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_pages_hold_each_entry_once_in_the_order_of_their_keys(rig: Rig, limit: int) -> None:
    await _fill(rig)
    expected = [(client, *entry) for client, entries in ENTRIES.items() for entry in entries]
    assert await _all(rig, limit=limit) == expected
    assert await _all(rig, limit=limit, client_id="b:2") == expected[3:]


@pytest.mark.parametrize("keys", [2, 500])
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"prefix": "ANN"}, [0, 2, 3, 4]),
        ({"prefix": "ann@X"}, [0, 4]),
        ({"prefix": "zo"}, [5]),
        ({"prefix": "q"}, []),
        ({"list_name": "news"}, [2, 3]),
        ({"list_name": "offers", "prefix": "z"}, [5]),
        ({"list_name": "none"}, []),
        ({"client_id": "a:1", "list_name": ALL_MAIL, "prefix": "b"}, [1]),
        ({"client_id": "c:3"}, []),
        ({"reason": "manual", "client_id": "a:1"}, [0, 1, 2]),
        ({"reason": "complaint"}, []),
    ],
)
async def test_filters_find_what_they_say_in_each_list_of_each_client(
    rig: Rig,
    monkeypatch: pytest.MonkeyPatch,
    wanted: dict[str, Any],
    expected: list[int],
    keys: int,
) -> None:
    monkeypatch.setattr(listing, "_KEYS", keys)
    await _fill(rig)
    entries = [(client, *entry) for client, entries in ENTRIES.items() for entry in entries]
    for limit in (1, 100):
        assert await _all(rig, limit=limit, **wanted) == [entries[n] for n in expected]


async def test_page_that_reads_much_and_finds_little_has_a_cursor_for_the_rest(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_KEYS", 2)
    monkeypatch.setattr(listing, "_MOST_READS", 1)
    page = [NewSuppression(f"a{n}@x.example", MANUAL) for n in range(9)]
    complaint = Suppression("complaint", NOW)
    await add_page(rig.store, "c", [*page, NewSuppression("z@x.example", complaint)])
    first = await list_suppressions(rig.store, reason="complaint", limit=10)
    assert not first.found and first.cursor is not None
    assert await _all(rig, reason="complaint") == [("c", ALL_MAIL, "z@x.example")]


async def test_entry_that_has_ended_is_not_listed(rig: Rig) -> None:
    ended = Suppression("manual", NOW - timedelta(days=2), NOW - timedelta(days=1))
    await add_page(rig.store, "c", [NewSuppression("a@x.example", ended)])
    assert await _all(rig) == []


async def test_cursor_of_another_client_is_refused(rig: Rig) -> None:
    with pytest.raises(ValueError, match="cursor"):
        await list_suppressions(rig.store, client_id="a:1", limit=1, cursor="b:2/news/x")


async def test_key_that_somebody_wrote_by_hand_is_passed_over(rig: Rig) -> None:
    await _fill(rig)
    await rig.store.client.put(rig.store.keys.suppressions + b"junk", b"{}")
    await rig.store.client.put(rig.store.keys.suppression("a:1", "x", "y@z.example"), b"junk")
    assert len(await _all(rig)) == 6
