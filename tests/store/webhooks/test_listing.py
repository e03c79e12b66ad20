"""The list of what was sent to a webhook: every notice once, the newest first."""

from __future__ import annotations

from datetime import timedelta

import pytest

from babygun.store import Store
from babygun.store.keys import NoticeRef
from babygun.store.webhooks import listing
from babygun.store.webhooks.listing import Delivery, list_notices
from babygun.store.webhooks.records import NoticeState
from tests.store.webhooks.written import NOW, WEBHOOK, event_of, put
from tests.support.rig import Rig

OTHER = "wh_0123456789abcdef01234568"


async def pages(store: Store, limit: int, state: NoticeState | None = None) -> list[Delivery]:
    """All pages, one after the other."""
    found: list[Delivery] = []
    cursor = None
    while True:
        page = await list_notices(store, WEBHOOK, state=state, limit=limit, cursor=cursor)
        assert len(page.deliveries) <= limit
        found += page.deliveries
        if page.cursor is None:
            return found
        cursor = page.cursor


async def test_webhook_without_notices_has_an_empty_page(rig: Rig) -> None:
    for state in (None, "waiting", "sent", "failed"):
        assert await list_notices(rig.store, WEBHOOK, state=state, limit=5, cursor=None) == (
            [],
            None,
        )


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_notices_of_all_states_are_listed_newest_first_and_each_once(
    rig: Rig, limit: int
) -> None:
    store, start = rig.store, int(NOW.timestamp() * 1000)
    wanted: dict[str, NoticeState] = {}
    # Some at once, some days apart, some of one e-mail, one of a clock that is ahead.
    times = [start + n // 4 for n in range(12)] + [start - 86_400_000 * n for n in range(1, 4)]
    for number, ms in enumerate(times):
        event = event_of(ms)
        wanted[event] = ("waiting", "waiting", "sent", "failed")[number % 4]  # type: ignore[assignment]
        due = NOW + timedelta(minutes=99 - number) if number % 4 == 1 else None
        await put(store, event, wanted[event], due=due)
    ahead = event_of(start + 40 * 365 * 86_400_000)
    wanted[ahead] = "sent"
    await put(store, ahead, "sent")
    await put(store, event_of(start), "sent", webhook_id=OTHER)
    newest_first = sorted(wanted, reverse=True)
    everything = await pages(store, limit)
    assert [one.event_id for one in everything] == newest_first
    assert {(one.type, one.email_id) for one in everything} == {("delivered", "x")}
    assert [one.notice.state for one in everything] == [wanted[event] for event in newest_first]
    assert {one.event_id for one in everything if one.next_try_at} == {
        event for number, event in enumerate(wanted) if number % 4 == 1 and event != ahead
    }
    for state in ("waiting", "sent", "failed"):
        found = await pages(store, limit, state)
        assert [one.event_id for one in found] == [
            event for event in newest_first if wanted[event] == state
        ]


async def test_filtered_page_reads_a_bounded_number_and_says_where_to_go_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "SCAN_KEYS", 10)
    start = int(NOW.timestamp() * 1000)
    failed = event_of(start)
    await put(rig.store, failed, "failed")
    for n in range(25):
        await put(rig.store, event_of(start + 1 + n), "sent")
    first = await list_notices(rig.store, WEBHOOK, state="failed", limit=5, cursor=None)
    assert first.deliveries == [] and first.cursor
    assert [one.event_id for one in await pages(rig.store, 5, "failed")] == [failed]


async def test_value_that_somebody_wrote_by_hand_is_left_out(rig: Rig) -> None:
    keys, start = rig.store.keys, int(NOW.timestamp() * 1000)
    good, bad = event_of(start), event_of(start + 1)
    await put(rig.store, good)
    await rig.store.client.put(keys.notice(NoticeRef(WEBHOOK, bad)), b"rubbish")
    await rig.store.client.put(keys.webhook_due_notices(WEBHOOK) + b"soon/x", b"{}")
    assert [one.event_id for one in await pages(rig.store, 5)] == [good]


@pytest.mark.parametrize("cursor", ["", "x", "zzzz", "019ab8c2"])
async def test_cursor_of_another_form_is_refused(rig: Rig, cursor: str) -> None:
    with pytest.raises(ValueError, match="no cursor"):
        await list_notices(rig.store, WEBHOOK, state=None, limit=5, cursor=cursor)
