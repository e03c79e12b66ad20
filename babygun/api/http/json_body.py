"""Decodes JSON bodies into typed values, with an error that names the field that doesn't fit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import msgspec
from aiohttp import web

from babygun.api.http.body import read_json
from babygun.api.http.context import call_of
from babygun.api.http.json_errors import explain, malformed
from babygun.api.http.json_values import UNCOUNTED, check_values
from babygun.api.http.problem_types import MALFORMED_JSON
from babygun.api.http.problems import Problem
from babygun.errors import InvalidRequest, Violation

T = TypeVar("T")
_decoder = ThreadPoolExecutor(1, "decode")

_NO_BASE64 = "Invalid base64 encoded string"  # how msgspec begins to say so


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
        value = await self.decode_large(await read_json(request, limit=self._max_bytes))
        call_of(request).body = value
        return value

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
            detail, field = explain(str(error), self._choices, self._fields)
            raise InvalidRequest([Violation(field, detail)]) from None
        except RecursionError:
            raise Problem(MALFORMED_JSON, "The body is nested too deeply.") from None
        except UnicodeDecodeError:
            raise Problem(
                MALFORMED_JSON, "The body is not JSON in UTF-8: it has bytes that are not UTF-8."
            ) from None
        except ValueError as error:  # msgspec.DecodeError
            raise Problem(MALFORMED_JSON, malformed(bytes(raw), str(error))) from None

    def _read(self, raw: bytes | msgspec.Raw) -> T:
        """Base64 as it should be is decoded at once; only other base64 takes the longer way."""
        try:
            return self._decode(raw)
        except msgspec.ValidationError as error:
            if self._tidy is None or not str(error).startswith(_NO_BASE64):
                raise
        return msgspec.convert(self._tidy(msgspec.json.decode(raw)), self.kind)


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
