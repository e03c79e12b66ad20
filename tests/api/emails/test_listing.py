"""GET /emails with its filters, as a client asks."""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import quote

import pytest

from babygun.store import Store
from tests.api.conftest import RunningApi
from tests.api.test_emails import WORKER, claimed, pages


async def test_listing_shows_who_is_sending_each(api: RunningApi, store: Store) -> None:
    waits, sent = await api.accepted(), await api.accepted()
    await claimed(store, sent)
    first, second = (await api.call("GET", "/emails")).json["emails"]
    assert (first["id"], first["sending"], first["worker_id"]) == (sent, ["default"], WORKER)
    assert (second["id"], second["sending"], second["worker_id"]) == (waits, [], None)
    assert await pages(api, "status=sending") == [sent]
    assert await pages(api, "status=waiting") == [waits]
    assert await pages(api, "status=incomplete") == [sent, waits]


async def test_listing_by_recipient_and_tag(api: RunningApi) -> None:
    ann = await api.accepted(to="Ann <Ann@Example.org>", tags=["a"])
    bob = await api.accepted(to="bob@example.net", cc="ann@example.org")
    assert await pages(api, "recipient=ann@example.org") == [bob, ann]
    assert await pages(api, "recipient=" + quote(" Ann <ANN@example.org> ")) == [bob, ann]
    assert await pages(api, "recipient=@example.net") == [bob]
    assert await pages(api, "recipient=ann@example.org&tag=a") == [ann]
    other = await api.token_for()
    assert (await api.call("GET", "/emails?recipient=ann@example.org", token=other)).json[
        "emails"
    ] == []


async def test_listing_by_time_goes_by_what_created_at_says(api: RunningApi) -> None:
    first, second = await api.accepted(), await api.accepted()
    created = (await api.call("GET", f"/emails/{second}")).json["created_at"]
    next_ms = (datetime.fromisoformat(created) + timedelta(milliseconds=1)).isoformat()
    earlier = (
        [first] if (await api.call("GET", f"/emails/{first}")).json["created_at"] < created else []
    )
    assert await pages(api, f"after={created}") == [second, *([] if earlier else [first])]
    assert await pages(api, f"before={created}") == earlier
    assert await pages(api, f"before={quote(next_ms)}") == [second, first]
    assert await pages(api, f"after={quote(next_ms)}") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=over", "status"),
        ("recipient=", "recipient"),
        ("recipient=@", "recipient"),
        ("recipient=ann", "recipient"),
        ("recipient=a@b.example,c@d.example", "recipient"),
        ("recipient=a@b@c.example", "recipient"),
        ("recipient=%FF", "recipient"),
        ("after=", "after"),
        ("after=yesterday", "after"),
        ("after=2026-11-25", "after"),
        ("after=2026-11-25T09:00:00", "after"),
        ("before=2026-11-25T09:00:00+01:00", "before"),  # the + is a space by now
        ("before=2026-13-25T09:00:00Z", "before"),
        ("before=%22", "before"),
        ("before=1795597200", "before"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("cursor=x", "cursor"),
        ("recipients=a@example.org", "recipients"),
    ],
)
async def test_filter_that_is_none_is_refused_by_its_name(
    api: RunningApi, query: str, field: str
) -> None:
    (await api.call("GET", f"/emails?{query}")).problem(422, "invalid-request", field)
