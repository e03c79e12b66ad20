"""The listing: order, search, filters and cursors."""

from __future__ import annotations

from babygun.email.tries import RecipientResult
from babygun.store import Store
from tests.api.suppressions.calls import listed, put
from tests.support.api import RunningApi
from tests.support.tries import finished

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


async def test_address_that_bounced_is_listed_with_email_and_reply_until_it_is_taken_off(
    api: RunningApi, store: Store
) -> None:
    api.token = await api.token_for("emails:send", "emails:read", "suppressions")
    email_id = await api.accepted(to="Ann@Example.org")
    gone = RecipientResult("fail", "bad_mailbox", 550, "5.1.1", "No such user", suppress=True)
    await finished(store, email_id, {"Ann@example.org": gone})
    (one,) = (await api.call("GET", "/suppressions", params={"prefix": "ann"})).json["suppressions"]
    assert one == one | {
        "email": "ann@example.org",
        "list": "*",
        "reason": "hard_bounce",
        "email_id": email_id,
        "status_code": 550,
        "enhanced_code": "5.1.1",
        "reply": "No such user",
    }
    second = await api.call("GET", f"/emails/{await api.accepted(to='ann@example.org')}")
    assert (second.json["status"], second.json["recipients"][0]["status"]) == (
        "failed",
        "suppressed",
    )
    taken = await api.call("DELETE", "/suppressions/ann@example.org")
    assert taken.json["suppressions"] == [one]
    third = await api.call("GET", f"/emails/{await api.accepted(to='ann@example.org')}")
    assert third.json["status"] == "incomplete"
