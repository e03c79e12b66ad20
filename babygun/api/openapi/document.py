"""The OpenAPI 3.1 document, made from the calls as their handlers declare them."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any

from msgspec import Meta

from babygun import __version__
from babygun.api.access.session import COOKIE
from babygun.api.http.file_body import FileBody
from babygun.api.http.json_body import JsonBody
from babygun.api.http.problem_types import (
    CROSS_SITE,
    HEADERS_TOO_LARGE,
    INSUFFICIENT_SCOPE,
    INVALID_REQUEST,
    INVALID_TOKEN,
    MALFORMED_JSON,
    MALFORMED_REQUEST,
    NO_TOKEN,
    NOT_READY,
    REQUEST_TIMEOUT,
    TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    URI_TOO_LONG,
    ProblemType,
)
from babygun.api.http.problems import CONTENT_TYPE, ProblemDocument
from babygun.api.http.routes import Answer, Header, Parameter, Route
from babygun.api.openapi.events import event_operations
from babygun.api.openapi.schemas import Schemas
from babygun.email.email_events import EmailEvent

_REQUEST_ID = Header(
    "X-Request-Id",
    "Names the call in our log: the caller's own X-Request-Id,"
    " if it has 1 to 64 letters, digits and . _ : -",
)
_RETRY_AFTER = Header(
    "Retry-After",
    "Seconds to wait before the call is repeated.",
    Annotated[str, Meta(pattern="^[0-9]+$")],
)
_AUTHENTICATE = Header("WWW-Authenticate", "How to authenticate.")
_INTRODUCTION = """\
Babygun sends e-mails. `POST /emails` stores one and answers at once, workers deliver it, and \
`GET /emails/{id}` says what became of it.

Get a token with `POST /tokens`, and send it as `Authorization: Bearer <token>` with every other \
call. A token has scopes. `admin` stands for all of them, and for seeing every client's e-mails.

Pages of the same origin sign in with `POST /session` instead: a cookie then stands for the header.

Errors are problems (RFC 9457). Their `type` never changes, and their `field` names the part of \
the request that is meant."""
_TAGS = {
    "tokens": "Tokens, which calls need, and the sign-in of the page.",
    "clients": "The applications that may call.",
    "emails": "Sending e-mails, and their status.",
    "domains": "Domains that clients send from.",
    "webhooks": "Endpoints of yours that get the events of your e-mails.",
    "suppressions": "Addresses that a client's mail does not go to.",
    "recipients": "Erase or export the data of one recipient.",
    "operations": "For operators and their tools.",
}
_SECURITY_SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token from POST /tokens.",
    },
    "client": {"type": "http", "scheme": "basic", "description": "Client id and secret."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "The cookie that POST /session sets; for pages of the same origin."
        " Over https its name begins with __Host-.",
    },
    "metrics": {
        "type": "http",
        "scheme": "bearer",
        "description": "The setting metrics_token, where it is set.",
    },
}


def build_document(routes: Sequence[Route]) -> dict[str, Any]:
    """The whole document as plain data.

    Raises LookupError where a field of an answer has no example.
    """
    answers = [answer for route in routes for answer in route.answers]
    headers = {
        header.name: header
        for header in (
            _REQUEST_ID,
            _RETRY_AFTER,
            _AUTHENTICATE,
            *(header for answer in answers for header in answer.headers),
        )
    }
    schemas = Schemas(
        [
            ProblemDocument,
            EmailEvent,
            *(header.type for header in headers.values()),
            *(answer.document for answer in answers if answer.document is not None),
            *(route.body.kind for route in routes if route.body is not None),
            *(parameter.type for route in routes for parameter in route.parameters),
        ]
    )
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
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
        "webhooks": event_operations(schemas),
        "components": {
            "headers": {
                header.name: {
                    "description": header.description,
                    "schema": schemas.of(header.type),
                }
                for header in headers.values()
            },
            "schemas": schemas.components,
            "securitySchemes": _SECURITY_SCHEMES,
        },
    }


def errors_of(route: Route) -> tuple[ProblemType, ...]:
    """Every type of problem that a call can end in, except a fault of ours."""
    found = [
        MALFORMED_REQUEST,
        URI_TOO_LONG,
        HEADERS_TOO_LARGE,
        INVALID_REQUEST,
        *route.errors,
    ]
    if route.body is not None:
        found += [TOO_LARGE, REQUEST_TIMEOUT, UNSUPPORTED_MEDIA_TYPE]
    if isinstance(route.body, JsonBody):
        found.append(MALFORMED_JSON)
    if route.scope is not None:
        found += [NO_TOKEN, INVALID_TOKEN, NOT_READY]
        if route.method != "GET":
            found.append(CROSS_SITE)
        if route.scope != "any":
            found.append(INSUFFICIENT_SCOPE)
    return tuple(dict.fromkeys(found))


def _operation(route: Route, schemas: Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation_id,
        "summary": route.summary,
        "tags": [route.tag],
        "security": _security(route),
        "responses": _responses(route, schemas),
    }
    words = [route.description] if route.description else []
    if route.scope not in (None, "any"):
        words.append(f"Needs the scope `{route.scope}`.")
    if words:
        operation["description"] = " ".join(words)
    if route.parameters:
        operation["parameters"] = [_parameter(p, schemas) for p in route.parameters]
    if route.body is not None:
        operation["requestBody"] = _request_body(route.body, schemas)
    return operation


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.credentials is not None:
        return [{route.credentials: []}, {}]
    return [{"token": []}, {"session": []}] if route.scope is not None else []


def _parameter(parameter: Parameter, schemas: Schemas) -> dict[str, Any]:
    default = {} if parameter.default is None else {"default": parameter.default}
    schema: dict[str, Any] = schemas.of(parameter.type) | default
    example: Any = parameter.example
    if parameter.repeats:
        schema, example = {"type": "array", "items": schema}, [example]
    shown: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.where,
        "description": parameter.description,
        "schema": schema,
    }
    if parameter.where == "path":
        shown["required"] = True
    if parameter.example is not None:
        shown["example"] = example
    return shown


def _request_body(body: JsonBody[Any] | FileBody, schemas: Schemas) -> dict[str, Any]:
    if isinstance(body, FileBody):
        files = {
            media_type: {"schema": schemas.of(body.kind), "example": example}
            for media_type, example in body.examples.items()
        }
        return {"required": True, "content": files}
    examples = {
        # OpenAPI allows few characters in the key of an example.
        "-".join(name.split()).replace(",", ""): {"summary": name, "value": value}
        for name, value in body.examples.items()
    }
    content = {"schema": schemas.of(body.kind), "examples": examples}
    return {"required": body.required, "content": {"application/json": content}}


def _responses(route: Route, schemas: Schemas) -> dict[str, Any]:
    responses = {str(answer.status): _response(answer, schemas) for answer in route.answers}
    by_status: dict[int, list[ProblemType]] = {}
    for kind in errors_of(route):
        by_status.setdefault(kind.status, []).append(kind)
    for status, kinds in sorted(by_status.items()):
        responses[str(status)] = _problem_response(route, status, kinds, schemas)
    return responses


def _response(answer: Answer, schemas: Schemas) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": answer.description,
        "headers": _header_refs(_REQUEST_ID, *answer.headers),
    }
    if answer.document is not None:
        schema = schemas.of(answer.document)
        example = (
            schemas.example(schema)
            if answer.example is None
            else schemas.example_with(schema, answer.example)
        )
        examples = {answer.media_type: example, **answer.more}
        response["content"] = {
            media_type: {"schema": schema, "example": shown}
            for media_type, shown in examples.items()
        }
    return response


def _problem_response(
    route: Route, status: int, kinds: Sequence[ProblemType], schemas: Schemas
) -> dict[str, Any]:
    headers = [_REQUEST_ID]
    if any(kind.retry_after for kind in kinds) or status == 429:
        headers.append(_RETRY_AFTER)
    if status == 401 or (status == 403 and route.scope):
        headers.append(_AUTHENTICATE)
    parameters = {f"{{{p.name}}}": str(p.example) for p in route.parameters if p.where == "path"}
    instance = route.path
    for name, value in parameters.items():
        instance = instance.replace(name, value)
    examples = {
        kind.slug: {"summary": kind.title, "value": _problem_example(kind, instance)}
        for kind in kinds
    }
    slugs = ", ".join(f"`{kind.slug}`" for kind in kinds)
    return {
        "description": f"{HTTPStatus(status).phrase}: {slugs}",
        "headers": _header_refs(*headers),
        "content": {CONTENT_TYPE: {"schema": schemas.of(ProblemDocument), "examples": examples}},
    }


def _problem_example(kind: ProblemType, instance: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "type": kind.uri,
        "title": kind.title,
        "status": kind.status,
        "detail": kind.example,
        "instance": instance,
        "request_id": "5d0c1f7ae2b94836",
    }
    return shown | ({"field": kind.example_field} if kind.example_field else {})


def _header_refs(*headers: Header) -> dict[str, Any]:
    return {header.name: {"$ref": f"#/components/headers/{header.name}"} for header in headers}
