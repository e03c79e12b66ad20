"""A call is declared where it is handled; everything else comes from its declaration."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from msgspec import Meta

from babygun.api.http.problem_types import CONFLICT
from babygun.api.http.routes import Answer, Parameter, Routes
from babygun.api.openapi.document import build_document

routes = Routes("operations")


@routes.call(
    "POST",
    "/things/{id}",
    summary="Make a thing",
    scope="workers:read",
    parameters=[
        Parameter("id", "path", str, "The thing's id.", "x"),
        Parameter("count", "query", Annotated[int, Meta(ge=1)], "How many.", 2, 1),
    ],
    answers=[Answer(204, "The thing is made.")],
    errors=(CONFLICT,),
)
async def make_thing(request: web.Request) -> web.Response:
    """A thing is
    made.
    """
    return web.Response(status=204)


def test_declaration_holds_what_the_decorator_and_the_handler_say() -> None:
    [route] = routes
    assert (route.method, route.path, route.name) == ("POST", "/things/{id}", "make_thing")
    assert (route.scope, route.description) == ("workers:read", "A thing is made.")
    assert route.handler is make_thing


def test_document_describes_a_declared_call() -> None:
    operation = build_document(list(routes))["paths"]["/things/{id}"]["post"]
    assert operation["operationId"] == "makeThing"
    assert operation["description"] == "A thing is made. Needs the scope `workers:read`."
    assert operation["security"] == [{"token": []}, {"session": []}]
    assert operation["parameters"][0]["required"] is True
    assert operation["parameters"][1]["schema"] == {"type": "integer", "minimum": 1, "default": 1}
    conflict = operation["responses"]["409"]["content"]["application/problem+json"]
    assert conflict["examples"]["conflict"]["value"]["instance"] == "/things/x"
    assert {"204", "400", "401", "403", "422", "503"} <= operation["responses"].keys()
