"""Each call with the id of another client's webhook: as if it did not exist.

The calls come from the table of calls and the examples of its documents, so a new one is covered.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from babygun.api.app import ROUTES
from babygun.api.http.routes import Route
from babygun.api.openapi.document import build_document
from tests.api.webhooks.conftest import Shop

DOCUMENT: dict[str, Any] = json.loads(json.dumps(build_document(ROUTES)))
CALLS = [route for route in ROUTES if route.path.startswith("/webhooks/{id}")]
NOBODYS = "wh_000000000000000000000000"


def bodies(route: Route) -> list[Any]:
    """The examples of the call's body."""
    if route.body is None:
        return [None]
    operation = DOCUMENT["paths"][route.path][route.method.lower()]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    return [named["value"] for named in examples.values()]


def test_calls_on_a_webhook_are_found_in_the_table() -> None:
    found = {route.name for route in CALLS}
    assert found >= {"show_webhook", "delete_webhook", "replay_events", "list_deliveries"}


@pytest.mark.parametrize("route", CALLS, ids=lambda route: route.name)
async def test_call_with_another_clients_webhook_answers_as_for_one_that_does_not_exist(
    shop: Shop, other_shop: Shop, route: Route
) -> None:
    theirs = await shop.webhook(description="secret")
    before = await shop.call("GET", f"/webhooks/{theirs['id']}")
    for body in bodies(route):
        seen = []
        for id in (NOBODYS, theirs["id"]):
            answer = await other_shop.call(route.method, route.path.format(id=id), body)
            problem = answer.problem(404, "not-found")
            assert problem.pop("instance") == route.path.format(id=id)
            del problem["request_id"]
            seen.append(problem)
        assert seen[0] == seen[1]
    after = await shop.call("GET", f"/webhooks/{theirs['id']}")
    assert after.json == before.json, "and nothing has changed"
    page = await shop.call("GET", f"/webhooks/{theirs['id']}/deliveries")
    assert page.json["deliveries"] == []


async def test_id_of_another_form_is_one_that_does_not_exist(shop: Shop) -> None:
    for id in ["wh_", "x", "%00", "a%2Fb", "wh_" + "0" * 5000]:
        (await shop.call("GET", f"/webhooks/{id}")).problem(404, "not-found")
