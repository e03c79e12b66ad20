"""The listing: order, search, filters and cursors."""

from __future__ import annotations

from tests.api.suppressions.calls import listed, put
from tests.support.api import RunningApi

ROWS = [
    ("*", "ann@example.org"),
    ("*", "anna@example.org"),
    ("*", "bob@example.org"),
    ("news", "ann@example.net"),
    ("news", "cy@example.org"),
    ("offers", "ann@example.org"),
]


async def test_listing_is_by_list_and_address_and_pages_miss_nothing(api: RunningApi) -> None:
    for name, email in reversed(ROWS):
        reason = "unsubscribe" if name == "news" else "manual"
        assert (await put(api, email, list=name, reason=reason)).status == 201
    for limit in ("1", "2", "1000"):
        assert await listed(api, limit=limit) == ROWS
        assert await listed(api, limit=limit, list="*") == ROWS[:3]
        assert await listed(api, limit=limit, prefix="ANN") == [
            row for row in ROWS if row[1].startswith("ann")
        ]
        assert await listed(api, limit=limit, prefix="ann@Example.o") == [ROWS[0], ROWS[5]]
        assert await listed(api, limit=limit, prefix="ann", list="offers") == [ROWS[5]]
        assert await listed(api, limit=limit, reason="unsubscribe") == ROWS[3:5]
        assert await listed(api, limit=limit, prefix="zoe") == []


async def test_wrong_parameters_of_the_listing_are_named(api: RunningApi) -> None:
    for name, value in (
        ("limit", "1001"),
        ("limit", "0"),
        ("list", "a b"),
        ("reason", "bounce"),
        ("cursor", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")),
        ("prefix", "a@\u0378.example"),
        ("since", "x"),
    ):
        answer = await api.call("GET", "/suppressions", params={name: value})
        if name == "cursor":
            assert answer.status in (200, 422)
        else:
            answer.problem(422, "invalid-request", name)
