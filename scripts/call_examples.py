"""docs/calls.md: one whole request and answer of each call, from the examples of OpenAPI."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from babygun.api.app import ROUTES
from babygun.api.http.file_body import FileBody
from babygun.api.http.routes import Answer, Route
from babygun.api.openapi.document import build_document

_WIDTH = 100
_HEAD = """\
# Every call, with an example

One whole request and one answer for each call. [api.md](api.md) says what the fields mean, and
which [errors](api.md#errors) there are. `python -m scripts.tables` makes this page from the
examples of `GET /openapi.json`, which also has every field, parameter and error.
"""


def page() -> str:
    """The whole page."""
    document = json.loads(json.dumps(build_document(ROUTES)))
    tags = {tag["name"]: tag["description"] for tag in document["tags"]}
    parts = [_HEAD]
    for tag, words in tags.items():
        parts.append(f"## {tag.title()}\n{words}\n")
        parts += [_call(route, document) for route in ROUTES if route.tag == tag]
    return "\n".join(parts).replace("\r\n", "\n")


def _call(route: Route, document: Mapping[str, Any]) -> str:
    operation = document["paths"][route.path][route.method.lower()]
    scope = f", with the scope `{route.scope}`" if route.scope not in (None, "any") else ""
    words = "\n".join(textwrap.wrap(route.description, _WIDTH, break_on_hyphens=False))
    return "\n".join(
        [
            f"### {route.summary}",
            f"`{route.method} {route.path}`{scope}",
            *(["", words] if words else []),
            "",
            "```http",
            *_request(route, operation),
            "```",
            "",
            "```http",
            *_answer(route.answers[0], operation),
            "```",
            "",
        ]
    )


def _request(route: Route, operation: Mapping[str, Any]) -> Iterator[str]:
    path = route.path
    for parameter in route.parameters:
        if parameter.where == "path":
            path = path.replace(f"{{{parameter.name}}}", str(parameter.example))
    yield f"{route.method} {path} HTTP/1.1"
    yield "Host: localhost:8080"
    if route.scope or route.credentials == "metrics":
        yield "Authorization: Bearer <token>"
    for parameter in route.parameters:
        if parameter.where == "header" and not parameter.name.startswith("If-"):
            yield f"{parameter.name}: {parameter.example}"
    if route.body is None:
        return
    content = operation["requestBody"]["content"]
    media_type, body = next(iter(content.items()))
    yield f"Content-Type: {media_type}"
    yield ""
    if isinstance(route.body, FileBody):
        yield body["example"].rstrip("\n")
    else:
        yield as_json(next(iter(body["examples"].values()))["value"])


def _answer(answer: Answer, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"
    content = operation["responses"][str(answer.status)].get("content")
    if content is None:
        return
    media_type, body = next(iter(content.items()))
    yield f"Content-Type: {media_type}"
    yield ""
    example = body["example"]
    yield example.rstrip("\n") if isinstance(example, str) else as_json(example)


def as_json(value: Any, indent: int = 0) -> str:
    """JSON in which a list or an object has one line, if it is short enough."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, (dict, list)) or not value or len(flat) + indent < _WIDTH - 20:
        return flat
    space = " " * (indent + 2)
    if isinstance(value, dict):
        inner = [
            f"{space}{json.dumps(name)}: {as_json(each, indent + 2)}"
            for name, each in value.items()
        ]
        opening, closing = "{", "}"
    else:
        inner = [f"{space}{as_json(each, indent + 2)}" for each in value]
        opening, closing = "[", "]"
    return f"{opening}\n" + ",\n".join(inner) + f"\n{' ' * indent}{closing}"
