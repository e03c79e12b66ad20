"""Decodes JSON bodies into typed values, with an error that names the field that doesn't fit."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from typing import Any, Generic, TypeVar

import msgspec
from aiohttp import web

from babygun.api.http.body import read_json
from babygun.api.http.json_values import UNCOUNTED, check_values
from babygun.api.http.problem_types import MALFORMED_JSON
from babygun.api.http.problems import Problem
from babygun.errors import InvalidRequest, Violation

T = TypeVar("T")
_decoder = ThreadPoolExecutor(1, "decode")

# The texts of msgspec's errors.
_NO_BASE64 = "Invalid base64 encoded string"
_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`(?: - at `\$\.?(.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*?)`(?: - at `\$\.?(.*)`)?", re.DOTALL)
_AT = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)
_EXPECTED = re.compile(r"Expected `([a-z |]+)`, got `([a-z]+)`")
_NO_TIME = re.compile(r"Invalid RFC3339 encoded datetime|Expected `datetime` with a timezone.*")
_LENGTH = re.compile(r"Expected `(array|str)` of length (>=|<=) (\d+)")
_INDEX = re.compile(r"\[(?:\d+|\.\.\.)\]")
# A surrogate without the other half of its pair, where no backslash is escaped.
_HALF_OF_A_PAIR = re.compile(
    rb"\\u[dD](?:[89abAB]..(?!\\u[dD][c-fC-F])|[c-fC-F](?<!\\u[dD][89abAB]..\\u[dD].))"
)
_SEARCHED = 4 << 20  # bytes of a body, for such a half: it takes some milliseconds
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
_NO_SUCH_FIELD = "There is no such field."
# What fields are called elsewhere.
_OTHER_NAMES = {"from": "sender", "text": "body", "address": "email", "scope": "scopes"}
_Names = Mapping[str, tuple[str, ...]]


class JsonBody(Generic[T]):
    """The body of a call, or of several calls.

    ``kind``: a Struct, or a list of some. ``examples``: by name, for the OpenAPI document.
    ``max_bytes``: None for the setting max_request. ``tidy``: makes a document whose base64 can't
    be read into one whose can; it may put bytes in the place of base64, or raise InvalidRequest.
    """

    def __init__(
        self,
        kind: type[T],
        *,
        examples: Mapping[str, Any] | None = None,
        max_bytes: int | None = None,
        required: bool = True,
        tidy: Callable[[Any], Any] | None = None,
    ) -> None:
        self.kind, self.examples, self.required = kind, examples or {}, required
        self._max_bytes, self._tidy = max_bytes, tidy
        self._decode: Callable[[bytes | msgspec.Raw], T] = msgspec.json.Decoder(kind).decode
        # By path: the values of fields that take only some, and the names of each Struct's fields.
        self._choices: dict[str, tuple[str, ...]] = {}
        self._fields: dict[str, tuple[str, ...]] = {}
        for path, part in _parts(msgspec.inspect.type_info(kind), ""):
            if isinstance(part, msgspec.inspect.LiteralType):
                self._choices[path] = tuple(str(value) for value in part.values)
            else:
                self._fields[path] = tuple(field.encode_name for field in part.fields)

    async def read(self, request: web.Request) -> T:
        """The request's body. Raises the errors of :func:`read_json` and :meth:`decode_large`."""
        return await self.decode_large(await read_json(request, limit=self._max_bytes))

    async def decode_large(self, raw: bytes) -> T:
        """The same as :meth:`decode`, with turns for other tasks. Raises the 413 problem, too.

        msgspec keeps all threads waiting while it decodes. So one body follows the other, and the
        event loop has its turn between them.
        """
        if len(raw) <= UNCOUNTED:
            return self.decode(raw)
        await check_values(raw)
        return await asyncio.get_running_loop().run_in_executor(_decoder, self.decode, raw)

    def decode(self, raw: bytes | msgspec.Raw) -> T:
        """Raises InvalidRequest, which names the field, and the 400 problem if it is no JSON."""
        try:
            return self._read(raw)
        except msgspec.ValidationError as error:
            detail, field = _explain(str(error), self._choices, self._fields)
            raise InvalidRequest([Violation(field, detail)]) from None
        except RecursionError:
            raise Problem(MALFORMED_JSON, "The body is nested too deeply.") from None
        except UnicodeDecodeError:
            raise Problem(
                MALFORMED_JSON, "The body is not JSON in UTF-8: it has bytes that are not UTF-8."
            ) from None
        except ValueError as error:  # msgspec.DecodeError
            raise Problem(MALFORMED_JSON, _malformed(bytes(raw), str(error))) from None

    def _read(self, raw: bytes | msgspec.Raw) -> T:
        """Base64 as it should be is decoded at once; only other base64 takes the longer way."""
        try:
            return self._decode(raw)
        except msgspec.ValidationError as error:
            if self._tidy is None or not str(error).startswith(_NO_BASE64):
                raise
        return msgspec.convert(self._tidy(msgspec.json.decode(raw)), self.kind)


def _malformed(raw: bytes, said: str) -> str:
    """What is wrong with JSON, as a sentence. ``said``: by msgspec."""
    if not raw:
        return "The body is empty."
    # msgspec takes half of a surrogate pair at the end of a text for JSON that is cut off.
    if "surrogate" in said or "truncated" in said:
        at = _half_of_a_pair(raw)
        if at is None:
            return "The body ends in the middle of its JSON."
        return f"The body has half of a surrogate pair, which stands for no character (byte {at})."
    return f"The body is not JSON: {said.removeprefix('JSON is malformed: ')}."


def _half_of_a_pair(raw: bytes) -> int | None:
    """Where the first surrogate without the other half of its pair is escaped, near the start."""
    margin = 12  # the other half may stand behind
    found = _HALF_OF_A_PAIR.search(raw[: _SEARCHED + margin].replace(rb"\\", b"  "))
    return found.start() if found and found.start() < _SEARCHED else None


def _explain(message: str, choices: _Names, fields: _Names) -> tuple[str, str]:
    """What is wrong, as a sentence, and the path of the field (``to[2]``), from msgspec's message.

    ``choices``: the values of fields that take only some. ``fields``: the names of fields. Both by
    path.
    """
    unknown = _UNKNOWN.fullmatch(message)
    if match := unknown or _MISSING.fullmatch(message):
        name, parent = match[1][:100], match[2] or ""
        known = fields.get(_INDEX.sub("[]", parent), ())
        words = _perhaps(name, known) if unknown else "This field is required."
        return words, f"{parent}.{name}" if parent else name
    said, path = (match[1], match[2]) if (match := _AT.fullmatch(message)) else (message, "")
    field = path.replace("[...]", "") or "body"
    if said.startswith("Invalid enum value") and (values := choices.get(_INDEX.sub("[]", path))):
        return f"It must be one of {', '.join(values)}.", field
    if _NO_TIME.fullmatch(said):
        return "Give a time with an offset (RFC 3339), such as 2030-01-31T08:00:00Z.", field
    if match := _EXPECTED.fullmatch(said):
        wanted = [_TYPES.get(name, name) for name in match[1].split(" | ")]
        return f"It must be {' or '.join(wanted)}, and is {_TYPES.get(match[2], match[2])}.", field
    if match := _LENGTH.fullmatch(said):
        bound = "least" if match[2] == ">=" else "most"
        unit = "entries" if match[1] == "array" else "characters"
        return f"It must have at {bound} {match[3]} {unit}.", field
    return f"{said}.", field


def _perhaps(name: str, fields: Sequence[str]) -> str:
    """That there is no such field, and which one may be meant."""
    meant = _OTHER_NAMES.get(name)
    near = [meant] if meant in fields else get_close_matches(name.lower(), fields, 1)
    return f"There is no such field; perhaps you mean {near[0]}." if near else _NO_SUCH_FIELD


def _parts(kind: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Each Struct and each choice below ``kind``, with its path; ``[]``: any index."""
    match kind:
        case msgspec.inspect.Metadata():
            yield from _parts(kind.type, path)
        case msgspec.inspect.LiteralType():
            yield path, kind
        case msgspec.inspect.ListType():
            yield from _parts(kind.item_type, f"{path}[]")
        case msgspec.inspect.UnionType():
            for part in kind.types:
                yield from _parts(part, path)
        case msgspec.inspect.StructType():
            yield path, kind
            prefix = f"{path}." if path else ""
            for field in kind.fields:
                yield from _parts(field.type, prefix + field.encode_name)
