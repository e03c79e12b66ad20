"""Reads the JSON body of a request into a typed value, naming the field where it doesn't fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec
from aiohttp import web

from babygun.api.problems import INVALID_REQUEST, MALFORMED_JSON, MALFORMED_REQUEST, UNSUPPORTED_MEDIA_TYPE, Problem, from_exception

T = TypeVar("T")

_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`(?: - at `\$\.?(.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*?)`(?: - at `\$\.?(.*)`)?", re.DOTALL)
_AT = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)


async def read_json(request: web.Request) -> bytes:
    """The raw body of a request whose Content-Type says JSON. Raises the 400, 413 or 415 problem."""
    check_json(request)
    return await read_body(request)


def check_json(request: web.Request) -> None:
    """Raises the 415 problem where the Content-Type says anything but JSON."""
    media_type = request.headers.get("Content-Type", "")
    if media_type != "application/json" and media_type.partition(";")[0].strip().lower() != "application/json":
        raise Problem(UNSUPPORTED_MEDIA_TYPE, "Send the body with Content-Type: application/json.", field="Content-Type")


async def read_body(request: web.Request) -> bytes:
    """The raw body, at most ``max_request`` bytes. Raises the 400 or 413 problem."""
    announced = request.content_length
    if announced is not None and announced > request.client_max_size:
        raise from_exception(web.HTTPRequestEntityTooLarge(request.client_max_size, announced))
    try:
        return await request.read()
    except web.RequestPayloadError as error:
        raise Problem(MALFORMED_REQUEST, f"The body can't be read: {error}", field="body") from None


def decoded(raw: bytes, decode: Callable[[bytes], T]) -> T:
    """``raw`` as what ``decode`` (of a msgspec decoder) makes of it. Raises the 400 or 422 problem, naming the field."""
    try:
        return decode(raw)
    except msgspec.ValidationError as error:
        detail, field = explain(str(error))
        raise Problem(INVALID_REQUEST, detail, field=field) from None
    except RecursionError:
        raise Problem(MALFORMED_JSON, "The body is nested too deeply.") from None
    except ValueError as error:  # msgspec.DecodeError, and UnicodeDecodeError
        detail = "The body is empty." if not raw else f"The body is not JSON in UTF-8: {error}."
        raise Problem(MALFORMED_JSON, detail) from None


def explain(message: str) -> tuple[str, str]:
    """What msgspec says of a value that doesn't fit, as a sentence and the field's path (``to[2]``)."""
    for pattern, words in ((_UNKNOWN, "There is no such field."), (_MISSING, "This field is required.")):
        if match := pattern.fullmatch(message):
            name, parent = match[1][:100], match[2]
            return words, f"{parent}.{name}" if parent else name
    if match := _AT.fullmatch(message):
        return f"{match[1]}.", match[2].replace("[...]", "") or "body"
    return f"{message}.", "body"
