"""docs/calls.md: one whole request and answer of each call, from the examples of OpenAPI."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
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
examples of `GET /openapi.json`, which also has every field, parameter and error. A test makes each
of these requests, and compares the answer. Ids, times and secrets are made up.
"""


def page() -> str:
    """The whole page."""
    document = json.loads(json.dumps(build_document(ROUTES)))
    tags = {tag["name"]: tag["description"] for tag in document["tags"]}
    parts = [_HEAD]
    for tag, words in tags.items():
        parts.append(f"## {tag.title()}\n{words}\n")
        parts += [_call(route, document) for route in ROUTES if route.tag == tag]
    return "\n".join(parts)


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
            request(route, operation),
            "```",
            "",
            "```http",
            answer(route.answers[0], operation),
            "```",
            "",
        ]
    )


def request(route: Route, operation: Mapping[str, Any], number: int = 0) -> str:
    """The request as it is sent, with the example body of this ``number``."""
    path = route.path
    for parameter in route.parameters:
        if parameter.where == "path":
            path = path.replace(f"{{{parameter.name}}}", str(parameter.example))
    lines = [f"{route.method} {path} HTTP/1.1", "Host: localhost:8080"]
    if route.scope or route.credentials == "metrics":
        lines.append("Authorization: Bearer <token>")
    for parameter in route.parameters:
        if parameter.where == "header" and not parameter.name.startswith("If-"):
            lines.append(f"{parameter.name}: {parameter.example}")
    if route.body is not None:
        media_type, body = next(iter(operation["requestBody"]["content"].items()))
        lines += [f"Content-Type: {media_type}", ""]
        if isinstance(route.body, FileBody):
            lines.append(body["example"].rstrip("\n"))
        else:
            lines.append(as_json([*body["examples"].values()][number]["value"]))
    return "\n".join(lines)


def answer(answer: Answer, operation: Mapping[str, Any]) -> str:
    """The answer as it comes."""
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    content = operation["responses"][str(answer.status)].get("content")
    if content is not None:
        media_type, body = next(iter(content.items()))
        example = body["example"]
        if isinstance(example, str):
            example = example.replace("\r\n", "\n").rstrip("\n")
        lines += [f"Content-Type: {media_type}", ""]
        lines.append(example if isinstance(example, str) else as_json(example))
    return "\n".join(lines)


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
