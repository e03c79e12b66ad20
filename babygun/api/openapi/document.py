"""The OpenAPI 3.1 document, made from the route table and from the types that the handlers decode and encode."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec

from babygun import __version__
from babygun.api.access.session import COOKIE
from babygun.api.http import problem_types as problems
from babygun.api.http.problem_types import ProblemType
from babygun.api.http.problems import CONTENT_TYPE, ProblemDocument
from babygun.api.http.route import Parameter, Route
from babygun.api.openapi import examples
from babygun.api.routes import ROUTES

_HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "X-Request-Id": (
        "Names the call in our log: the caller's own X-Request-Id where it sent one of 1 to 64 letters, digits and . _ : -",
        {"type": "string"},
    ),
    "Location": ("Where the e-mail can be read.", {"type": "string", "format": "uri-reference"}),
    "Content-Disposition": ("Whether it is to be saved, and under which name.", {"type": "string"}),
    "ETag": ("Names this version of the e-mail, for If-None-Match.", {"type": "string"}),
    "Idempotent-Replayed": (
        "Set where the Idempotency-Key was known, and this is the first call's answer.",
        {"type": "string", "enum": ["true"]},
    ),
    "Retry-After": (
        "Seconds to wait before the call is repeated.",
        {"type": "string", "pattern": "^[0-9]+$"},
    ),
    "Set-Cookie": (
        "The session's token: HttpOnly, SameSite=Strict, and Secure where the API speaks https.",
        {"type": "string"},
    ),
    "WWW-Authenticate": ("How to authenticate.", {"type": "string"}),
}
_INTRODUCTION = """Babygun sends e-mails: `POST /emails` stores one and answers at once, workers deliver it, and `GET /emails/{id}` tells what became of it.

Get a token with `POST /tokens`, and send it as `Authorization: Bearer <token>` with every other call. A token has scopes; `admin` stands for all of them, and for seeing every client's e-mails.

Pages of the same origin sign in with `POST /session` instead: a cookie then stands for the header.

Errors are problems (RFC 9457) whose `type` never changes and whose `field` names the part of the request that is meant."""
_REF = "#/components/schemas/{name}"
_TAGS = {
    "tokens": "Who may call.",
    "clients": "The applications that may call.",
    "emails": "Sending e-mails, and what became of them.",
    "operations": "For operators and their tools.",
}


def build_document() -> dict[str, Any]:
    """The whole document as plain data."""
    found = {
        t: None
        for route in ROUTES
        for t in (route.body, *(answer.document for answer in (route.answer, *route.other_answers)))
    }
    types = [ProblemDocument, *(t for t in found if t not in (None, str, bytes, dict[str, Any]))]
    _, schemas = msgspec.json.schema_components(types, ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Babygun",
            "version": __version__,
            "description": _INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": words} for name, words in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": {
                name: {"description": words, "schema": schema}
                for name, (words, schema) in _HEADERS.items()
            },
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A token from POST /tokens.",
                },
                "client": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "Client id and secret.",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": COOKIE,
                    "description": "The cookie that POST /session sets; for pages of the same origin.",
                },
                "metrics": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The setting metrics_token, where it is set.",
                },
            },
        },
    }


def problems_of(route: Route) -> tuple[ProblemType, ...]:
    """Every type of problem that a call can end in, but an error of ours."""
    found = [
        problems.MALFORMED_REQUEST,
        problems.URI_TOO_LONG,
        problems.HEADERS_TOO_LARGE,
        problems.INVALID_REQUEST,
        *route.problems,
    ]
    if route.body is not None:
        found += [
            problems.MALFORMED_JSON,
            problems.TOO_LARGE,
            problems.REQUEST_TIMEOUT,
            problems.UNSUPPORTED_MEDIA_TYPE,
        ]
    if route.needs is not None:
        found += [problems.NO_TOKEN, problems.INVALID_TOKEN, problems.NOT_READY]
        if route.method != "GET":
            found.append(problems.CROSS_SITE)
        if route.needs != "token":
            found.append(problems.INSUFFICIENT_SCOPE)
    return tuple(dict.fromkeys(found))


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "tags": [route.tag],
        "security": _security(route),
        "responses": _responses(route),
    }
    words = [route.description] if route.description else []
    if route.needs not in (None, "token"):
        words.append(f"Needs the scope `{route.needs}`.")
    if words:
        operation["description"] = " ".join(words)
    if route.parameters:
        operation["parameters"] = [_parameter(parameter) for parameter in route.parameters]
    if route.body is not None:
        named = {name: {"value": value} for name, value in route.body_examples.items()}
        content = {"application/json": {"schema": _ref(route.body), "examples": _keyed(named)}}
        operation["requestBody"] = {"required": route.body_required, "content": content}
    return operation


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.basic:
        return [{"client": []}, {}]
    if route.metrics_token:
        return [{"metrics": []}, {}]
    return [{"token": []}, {"session": []}] if route.needs is not None else []


def _parameter(parameter: Parameter) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.where,
        "description": parameter.description,
        "schema": parameter.schema,
    }
    if parameter.where == "path":
        shown["required"] = True
    if parameter.example is not None:
        shown["example"] = parameter.example
    return shown


def _responses(route: Route) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for answer in (route.answer, *route.other_answers):
        success = responses[str(answer.status)] = {
            "description": answer.description,
            "headers": _header_refs("X-Request-Id", *answer.headers),
        }
        if answer.document is not None:
            success["content"] = {
                answer.media_type: {"schema": _ref(answer.document), "example": answer.example}
            }
    if route.not_modified:
        responses["304"] = {
            "description": "The caller has this version already, as its If-None-Match says.",
            "headers": _header_refs("X-Request-Id", "ETag"),
        }
    by_status: dict[int, list[ProblemType]] = {}
    for kind in problems_of(route):
        by_status.setdefault(kind.status, []).append(kind)
    for status, kinds in sorted(by_status.items()):
        responses[str(status)] = _problem_response(route, status, kinds)
    return responses


def _problem_response(route: Route, status: int, kinds: Iterable[ProblemType]) -> dict[str, Any]:
    kinds = list(kinds)
    headers = ["X-Request-Id"]
    if any(kind.retry_after for kind in kinds) or status == 429:
        headers.append("Retry-After")
    if status == 401 or (status == 403 and route.needs):
        headers.append("WWW-Authenticate")
    named = {
        kind.slug: {"summary": kind.title, "value": _problem_example(route, kind)} for kind in kinds
    }
    return {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(f'`{kind.slug}`' for kind in kinds)}",
        "headers": _header_refs(*headers),
        "content": {CONTENT_TYPE: {"schema": _ref(ProblemDocument), "examples": named}},
    }


def _problem_example(route: Route, kind: ProblemType) -> dict[str, Any]:
    detail, field = examples.PROBLEM_DETAILS[kind.slug]
    instance = route.path.replace("{id}", examples.EMAIL_ID).replace("{n}", "0")
    shown: dict[str, Any] = {
        "type": kind.uri,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": instance,
        "request_id": "5d0c1f7ae2b94836",
    }
    return shown | ({"field": field} if field else {})


def _header_refs(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _keyed(named: dict[str, Any]) -> dict[str, Any]:
    """Examples under keys of the form that OpenAPI asks for, with their names as summaries."""
    return {
        "-".join(name.split()).replace(",", ""): {"summary": name, **value}
        for name, value in named.items()
    }


def _ref(document: Any) -> dict[str, Any]:
    if document in (str, bytes):
        return {"type": "string"}
    if isinstance(document, type):
        return {"$ref": _REF.format(name=document.__name__)}
    (schema,), _ = msgspec.json.schema_components([document], ref_template=_REF)
    return schema
