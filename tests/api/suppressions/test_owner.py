"""Each client its own suppressions: nobody sees or changes another's, by whatever call."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from babygun.api.app import ROUTES
from babygun.api.http.routes import Route
from tests.api.suppressions.calls import listed, put
from tests.support.api import Answer, RunningApi, basic

CALLS = [route for route in ROUTES if route.path.startswith("/suppressions")]


async def called(
    api: RunningApi, route: Route, token: str, params: dict[str, str], email: str
) -> Answer:
    sent: dict[str, Any] = {}
    if route.path.endswith("/import"):
        sent = {"data": f"{email}\n".encode(), "content_type": "text/csv"}
    elif route.method == "POST":
        sent = {"json": {"email": email}}
    path = route.path.replace("{email}", email)
    return await api.call(route.method, path, token=token, params=params, **sent)


def test_every_call_is_tried_and_takes_a_client() -> None:
    assert len(CALLS) == 6
    assert all("client" in [p.name for p in route.parameters] for route in CALLS)
    assert {route.scope for route in CALLS} == {"suppressions"}


@pytest.mark.parametrize("route", CALLS, ids=lambda route: route.name)
async def test_call_on_another_clients_suppressions_shows_and_changes_nothing(
    api: RunningApi, route: Route
) -> None:
    theirs, secret = await api.client("suppressions")
    signed_in = await api.call("POST", "/tokens", token="", headers=basic(theirs.id, secret))
    token = signed_in.json["token"]
    made = await put(api, "secret@example.org", token=token, reason="unsubscribe")
    for named in (theirs.id, theirs.identity, "nobody"):
        refused = await called(api, route, api.token, {"client": named}, "secret@example.org")
        refused.problem(403, "insufficient-scope")
    own = await called(api, route, api.token, {}, "secret@example.org")
    if route.method == "POST":
        assert own.status in (200, 201)
    else:
        assert own.status in (200, 404) and '"unsubscribe"' not in own.text
    assert own.status == 404 or "secret" not in own.text or route.method == "POST"
    kept = await api.call("GET", "/suppressions/secret@example.org", token=token)
    assert kept.json["suppressions"] == [made.json]
    if route.method != "GET":
        without = await api.token_for("emails:send", "emails:read")
        (await called(api, route, without, {}, "x@example.org")).problem(403, "insufficient-scope")


async def test_scope_admin_lists_all_and_changes_those_of_the_client_that_it_names(
    api: RunningApi,
) -> None:
    theirs, _ = await api.client("suppressions")
    await put(api, "ann@example.org")
    admin = await api.token_for("admin")
    other = {"client": theirs.id}
    for route in CALLS:
        (await called(api, route, admin, {"client": "nobody"}, "a@example.org")).problem(
            404, "not-found"
        )
    made = await api.call(
        "POST", "/suppressions", token=admin, params=other, json={"email": "bob@example.org"}
    )
    assert made.json["client_id"] == theirs.id
    assert await listed(api, token=admin, client=theirs.id) == [("*", "bob@example.org")]
    everybody = await listed(api, token=admin, limit="1")
    assert sorted(everybody) == [("*", "ann@example.org"), ("*", "bob@example.org")]
    assert await listed(api) == [("*", "ann@example.org")]
    off = await api.call("DELETE", "/suppressions/bob@example.org", token=admin, params=other)
    assert off.json["suppressions"] == [made.json]


async def test_log_names_no_suppressed_address(
    api: RunningApi, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for route in CALLS:
            await called(api, route, api.token, {}, "secret@example.org")
        await api.call("PUT", "/suppressions/secret%40example.org")
    logged = str([getattr(record, "fields", record.msg) for record in caplog.records])
    assert "/suppressions/…" in logged and "/suppressions/export" in logged
    assert "secret" not in logged


async def test_cursor_of_another_client_leads_nowhere_else(api: RunningApi) -> None:
    token = await api.token_for("suppressions")
    for email in ("ann@example.org", "bob@example.org"):
        await put(api, email, token=token, reason="unsubscribe")
        await put(api, email)
    page = await api.call("GET", "/suppressions", token=token, params={"limit": "1"})
    taken = await api.call("GET", "/suppressions", params={"cursor": page.json["cursor"]})
    assert taken.status == 422 or all(
        one["reason"] == "manual" for one in taken.json["suppressions"]
    )
