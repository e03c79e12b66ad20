"""Answers with JSON or without a body, and the headers that every answer has."""

from __future__ import annotations

import msgspec
from aiohttp import web
from multidict import CIMultiDict

SECURITY_HEADERS = {
    "Server": "babygun",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
_JSON_HEADERS = CIMultiDict({**SECURITY_HEADERS, "Content-Type": "application/json"})
_encode = msgspec.json.Encoder().encode


def json_answer(
    value: object,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> web.Response:
    """``value``, one of the documents, as JSON."""
    response = web.Response(body=_encode(value), status=status, headers=_JSON_HEADERS)
    if headers:
        response.headers.update(headers)
    return response


def empty_answer() -> web.Response:
    """204, without a body."""
    return web.Response(status=204, headers=SECURITY_HEADERS)
