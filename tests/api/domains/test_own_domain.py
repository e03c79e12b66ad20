"""Each call with the name of another client's domain: as if it did not exist.

The calls come from the table of calls and the examples of its documents, so a new one is covered.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from babygun.api.app import ROUTES
from babygun.api.http.routes import Route
from babygun.api.openapi.document import build_document
from tests.api.domains.calls import NAME, Holder

DOCUMENT: dict[str, Any] = json.loads(json.dumps(build_document(ROUTES)))
CALLS = [
    route
    for route in ROUTES
    if route.path.startswith("/domains/{name}") and route.scope == "domains"
]


def bodies(route: Route) -> list[Any]:
    """The examples of the call's body."""
    if route.body is None:
        return [None]
    operation = DOCUMENT["paths"][route.path][route.method.lower()]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    return [named["value"] for named in examples.values()]


def test_calls_on_a_domain_are_found_in_the_table() -> None:
    found = {route.name for route in CALLS}
    assert found == {"show_domain", "verify_domain", "rotate_keys", "delete_domain"}


@pytest.mark.parametrize("route", CALLS, ids=lambda route: route.name)
async def test_call_with_another_clients_domain_answers_as_for_one_that_does_not_exist(
    shop: Holder, other: Holder, route: Route
) -> None:
    before = await shop.domain()
    for body in bodies(route):
        seen = []
        for name in ("nobodys.example", NAME):
            answer = await other.call(route.method, route.path.format(name=name), body)
            problem = answer.problem(404, "not-found")
            assert problem.pop("instance") == route.path.format(name=name)
            del problem["request_id"]
            seen.append(problem)
        assert seen[0] == seen[1]
    assert (await shop.call("GET", f"/domains/{NAME}")).json == before, "nothing has changed"


async def test_name_of_another_form_is_a_domain_that_does_not_exist(shop: Holder) -> None:
    for name in ["com", "%00", "a%2Fb.example", "a" * 5000, "%FF.example", "*"]:
        (await shop.call("GET", f"/domains/{name}")).problem(404, "not-found")
