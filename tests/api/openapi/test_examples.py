"""Each example of an answer is what the API answers to the example of its request.

Ids, times and secrets need to have the right form only. What a call needs before it is in
:mod:`tests.api.openapi.needs`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from babygun.api.app import ROUTES
from babygun.api.emails import waits
from babygun.api.http.routes import Answer, Route
from babygun.api.openapi.document import build_document
from babygun.api.operations import cluster_reading, overview
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.sites import known
from scripts import call_examples
from tests.api.openapi.needs import NEEDS
from tests.api.openapi.world import Needs, World, world_of
from tests.support.told import Told, form_of

DOCUMENT: dict[str, Any] = json.loads(json.dumps(build_document(ROUTES)))
EXAMPLES = [
    pytest.param(route, answer, id=f"{route.name}-{answer.status}")
    for route in ROUTES
    for answer in route.answers
    if answer is route.answers[0] or answer.document is not None
]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call reads what it shows, however slow this machine is."""
    monkeypatch.setattr(known, "FRESH", 0.0)
    monkeypatch.setattr(overview, "FRESH", 0.0)
    for module in (known, overview, cluster_reading, waits):
        monkeypatch.setattr(module, "PATIENCE", 20.0)


@pytest.mark.usefixtures("one_day")
@pytest.mark.parametrize(("route", "answer"), EXAMPLES)
async def test_api_answers_the_example_of_a_request_with_the_example_of_its_answer(
    route: Route, answer: Answer, api_settings: Settings, store: Store
) -> None:
    operation = DOCUMENT["paths"][route.path][route.method.lower()]
    needs = NEEDS.get(f"{route.name}-{answer.status}") or NEEDS.get(route.name) or Needs()
    request = needs.request or call_examples.request(route, operation, needs.number)
    documented = call_examples.answer(answer, operation)
    async with world_of(route, needs, api_settings, store) as world:
        found = await differences(world, request, documented, needs)
    assert not found, "\n".join([f"{route.method} {route.path} {answer.status}:", *found])


async def test_api_answers_the_example_of_another_media_type(
    api_settings: Settings, store: Store
) -> None:
    [route] = [route for route in ROUTES if route.name == "export_suppressions"]
    [(media_type, example)] = route.answers[0].more.items()
    needs = NEEDS[route.name]
    async with world_of(route, needs, api_settings, store) as world:
        request = f"GET {route.path}?format=ndjson HTTP/1.1\nAuthorization: Bearer <token>"
        documented = f"HTTP/1.1 200 OK\nContent-Type: {media_type}\n\n{example.strip()}"
        assert not await differences(world, request, documented, needs)


async def differences(world: World, request: str, documented: str, needs: Needs) -> list[str]:
    """How the real answer to a documented request differs from the documented one."""
    request = world.real(request)
    real = await world.sent(request, like=documented)
    (told_head, _, told), (real_head, _, body) = (t.partition("\n\n") for t in (documented, real))
    told = world.later(told)
    heads = Told(request, {}, ()).differences(told_head, real_head, "head")
    compare = Told(request, world.names, needs.free).differences
    return [*heads, *_of_bodies(compare, told_head.rpartition("/")[2], told, body, needs.cut)]


def _of_bodies(
    compare: Callable[..., Iterator[str]], form: str, told: str, body: str, cut: bool
) -> Iterator[str]:
    if form == "json":
        document = json.loads(body)
        if cut:
            document = {name: document[name] for name in json.loads(told)}
        yield from compare(json.loads(told), document)
    elif form == "x-ndjson":
        lines = ([json.loads(line) for line in text.split("\n")] for text in (told, body))
        yield from compare(*lines, "lines")
    elif cut:
        for piece in told.split("…"):
            if form_of(piece.strip("\n")) not in form_of(body):
                yield f"not answered: {piece}"
    else:
        yield from compare(told, body, "body")


TOLD = {"id": "019ab8c2-7f41-7d3a-9c55-2b7e4f1a90c8", "name": "shop", "rate": None, "on": [True]}
REAL = {"id": "01a22c47-fd84-7d3c-b492-ab20bd0f7b51", "name": "shop", "rate": None, "on": [True]}


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"name": "news"}, "name"),
        ({"rate": 50.0}, "rate"),
        ({"on": [1]}, "on[0]"),
        ({"on": []}, "on"),
        ({"on": None}, "on"),
        ({"more": None}, "more"),
        ({"id": "x"}, "id"),
    ],
)
def test_false_example_is_found(change: dict[str, Any], place: str) -> None:
    assert not [*Told("", {}, ()).differences(TOLD, REAL)]
    [found] = Told("", {}, ()).differences(TOLD | change, REAL)
    assert found.startswith(f"{place}: ")


def test_example_has_what_its_request_says_and_only_free_fields_may_differ() -> None:
    request = f"PATCH /things/{TOLD['id']}"
    assert [*Told(request, {}, ()).differences(TOLD, REAL)]
    assert not [*Told(request, {TOLD["id"]: REAL["id"]}, ()).differences(TOLD, REAL)]
    assert not [*Told("", {}, ("rate",)).differences({"rate": 1}, {"rate": 2.0})]
    assert [*Told("", {}, ("rate",)).differences({"rate": 1}, {"rate": None})]


def test_each_need_is_of_a_call() -> None:
    assert {name.partition("-")[0] for name in NEEDS} <= {route.name for route in ROUTES}
