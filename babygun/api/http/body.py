"""Reads the JSON body of a request into a typed value, naming the field where it doesn't fit."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec
from aiohttp import web

from babygun.api.http.body_memory import BODY_MEMORY, SMALL
from babygun.api.http.context import SETTINGS, call_of
from babygun.api.http.malformed import unreadable_encoding
from babygun.api.http.problem_types import (
    MALFORMED_JSON,
    MALFORMED_REQUEST,
    REQUEST_TIMEOUT,
    TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
)
from babygun.api.http.problems import Problem
from babygun.errors import InvalidRequest, Violation

T = TypeVar("T")

MAX_SMALL = 64 << 10  # bytes, for calls that need no more: no stranger can hold much of our memory

_ENCODINGS = frozenset({"", "identity", "gzip", "deflate"})
_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`(?: - at `\$\.?(.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*?)`(?: - at `\$\.?(.*)`)?", re.DOTALL)
_AT = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)
_EXPECTED = re.compile(r"Expected `([a-z |]+)`, got `([a-z]+)`")
_LENGTH = re.compile(r"Expected `(array|str)` of length (>=|<=) (\d+)")
_INDEX = re.compile(r"\[(?:\d+|\.\.\.)\]")
_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
# msgspec's names of JSON's types.
_TYPES = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
    "datetime": "a time",
}


def read_json(request: web.Request, *, limit: int | None = None) -> Awaitable[bytes]:
    """The raw body of a request whose Content-Type says JSON, at most ``limit`` bytes. Raises the 400, 408, 413, 415 or 503 problem."""
    check_json(request)
    return read_body(request, limit=limit)


def check_json(request: web.Request) -> None:
    """Raises the 415 problem where the Content-Type says anything but JSON."""
    media_type = request.headers.get("Content-Type", "")
    if (
        media_type != "application/json"
        and media_type.partition(";")[0].strip().lower() != "application/json"
    ):
        raise Problem(
            UNSUPPORTED_MEDIA_TYPE,
            "Send the body with Content-Type: application/json.",
            field="Content-Type",
        )


async def read_body(request: web.Request, *, limit: int | None = None) -> bytes:
    """The raw body, decompressed, at most ``limit`` (by default ``max_request``) bytes. Raises the 400, 408, 413, 415 or 503 problem."""
    limit = request.client_max_size if limit is None else min(limit, request.client_max_size)
    announced = request.content_length
    if announced is not None and announced > limit:
        raise too_large(limit, request.client_max_size)
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        raise unreadable_encoding()
    plain = encoding in ("", "identity")
    if plain and announced is not None and announced > SMALL:
        await request.app[BODY_MEMORY].take(announced)
        call_of(request).body_bytes = announced
    try:
        if plain and announced is not None and request.content.is_eof():
            return request.content.read_nowait()
        seconds = request.app[SETTINGS].request_timeout
        async with asyncio.timeout(seconds):
            return await _read(request, limit)
    except TimeoutError:
        raise Problem(
            REQUEST_TIMEOUT,
            f"The body was not there after {seconds:g} s (setting request_timeout).",
            field="body",
        ) from None
    except web.RequestPayloadError:
        detail = (
            "The body is not chunked as its Transfer-Encoding says."
            if plain
            else f"The body is not {encoding}, as its Content-Encoding says."
        )
        raise Problem(MALFORMED_REQUEST, detail, field="body") from None
    except ConnectionError:
        raise Problem(
            MALFORMED_REQUEST, "The connection ended before the body did.", field="body"
        ) from None


async def _read(request: web.Request, limit: int) -> bytes:
    """Reads to the end, and takes room for what was not announced."""
    memory, call = request.app[BODY_MEMORY], call_of(request)
    parts: list[bytes] = []
    size = 0
    while part := await request.content.readany():
        size += len(part)
        if size > limit:
            raise too_large(limit, request.client_max_size)
        if size > max(SMALL, call.body_bytes):
            memory.grow(size - call.body_bytes)
            call.body_bytes = size
        parts.append(part)
    return b"".join(parts)


def too_large(limit: int, whole: int) -> Problem:
    """The 413 problem; ``whole``: what a request may have at most, where ``limit`` is this call's own."""
    detail = (
        "The body is larger than this server takes (setting max_request)."
        if limit == whole
        else f"The body of this call has at most {limit} bytes."
    )
    return Problem(TOO_LARGE, detail, field="body")


class JsonBody(Generic[T]):
    """The body of a call, or of some.

    ``kind``: a Struct, or a list of some. ``examples``: by name, for the OpenAPI document.
    ``max_bytes``: None for the setting max_request.
    """

    def __init__(
        self,
        kind: type[T],
        *,
        examples: Mapping[str, Any] | None = None,
        max_bytes: int | None = None,
        required: bool = True,
    ) -> None:
        self.kind, self.examples, self.required = kind, examples or {}, required
        self._max_bytes = max_bytes
        self._decode: Callable[[bytes | msgspec.Raw], T] = msgspec.json.Decoder(kind).decode
        self._choices = dict(_choices(msgspec.inspect.type_info(kind), ""))

    async def read(self, request: web.Request) -> T:
        """The request's body. Raises the problems of :func:`read_json` and :meth:`decode`."""
        return self.decode(await read_json(request, limit=self._max_bytes))

    def decode(self, raw: bytes | msgspec.Raw) -> T:
        """Raises InvalidRequest, which names the field, and the 400 problem if it is no JSON."""
        try:
            return self._decode(raw)
        except msgspec.ValidationError as error:
            detail, field = explain(str(error), self._choices)
            raise InvalidRequest([Violation(field, detail)]) from None
        except RecursionError:
            raise Problem(MALFORMED_JSON, "The body is nested too deeply.") from None
        except UnicodeDecodeError:
            raise Problem(
                MALFORMED_JSON, "The body is not JSON in UTF-8: it has bytes that are not UTF-8."
            ) from None
        except ValueError as error:  # msgspec.DecodeError
            raise Problem(MALFORMED_JSON, _malformed(bytes(raw), str(error))) from None


def _malformed(raw: bytes, said: str) -> str:
    """What is wrong with JSON, as a sentence."""
    if not raw:
        return "The body is empty."
    if (
        "surrogate" in said or "truncated" in said
    ):  # a lone surrogate at a text's end passes for a cut-off pair
        if (at := _lone_surrogate(raw)) is not None:
            return (
                f"The body has half of a surrogate pair, which stands for no character (byte {at})."
            )
        return "The body ends in the middle of its JSON."
    return f"The body is not JSON: {said.removeprefix('JSON is malformed: ')}."


def _lone_surrogate(raw: bytes) -> int | None:
    """Where the first one is escaped."""
    high: int | None = None
    end = 0
    for match in _ESCAPE.finditer(raw):
        unit = int(match[1], 16) if match[1] else 0
        if high is not None and not (match.start() == end and 0xDC00 <= unit < 0xE000):
            return high
        if high is None and 0xDC00 <= unit < 0xE000:
            return match.start()
        high = match.start() if 0xD800 <= unit < 0xDC00 else None
        end = match.end()
    return high


def explain(message: str, choices: dict[str, tuple[str, ...]]) -> tuple[str, str]:
    """What msgspec says of a value that doesn't fit, as a sentence and the field's path (``to[2]``). ``choices``: of fields with few values, those."""
    for pattern, words in (
        (_UNKNOWN, "There is no such field."),
        (_MISSING, "This field is required."),
    ):
        if match := pattern.fullmatch(message):
            name, parent = match[1][:100], match[2]
            return words, f"{parent}.{name}" if parent else name
    said, path = (match[1], match[2]) if (match := _AT.fullmatch(message)) else (message, "")
    field = path.replace("[...]", "") or "body"
    if said.startswith("Invalid enum value") and (values := choices.get(_INDEX.sub("[]", path))):
        return f"It must be one of {', '.join(values)}.", field
    if match := _EXPECTED.fullmatch(said):
        wanted = [_TYPES.get(name, name) for name in match[1].split(" | ")]
        return f"It must be {' or '.join(wanted)}, and is {_TYPES.get(match[2], match[2])}.", field
    if match := _LENGTH.fullmatch(said):
        return (
            f"It must have at {'least' if match[2] == '>=' else 'most'} {match[3]} {'entries' if match[1] == 'array' else 'characters'}.",
            field,
        )
    return f"{said}.", field


def _choices(kind: Any, path: str) -> list[tuple[str, tuple[str, ...]]]:
    """The path and the values of each field below ``kind`` that takes only some; ``[]`` stands for any index."""
    match kind:
        case msgspec.inspect.Metadata():
            return _choices(kind.type, path)
        case msgspec.inspect.LiteralType():
            return [(path, tuple(str(value) for value in kind.values))]
        case msgspec.inspect.ListType():
            return _choices(kind.item_type, f"{path}[]")
        case msgspec.inspect.UnionType():
            return [found for part in kind.types for found in _choices(part, path)]
        case msgspec.inspect.StructType():
            return [
                found
                for field in kind.fields
                for found in _choices(
                    field.type, f"{path}.{field.encode_name}" if path else field.encode_name
                )
            ]
    return []
