"""``babygun decode``: turns what ``etcdctl get`` printed into JSON.

Jobs and contents are msgpack in etcd, and long notices are compressed. All other values are JSON
already.

etcdctl get --prefix /babygun/jobs/ | babygun decode
etcdctl get --prefix -w json /babygun/contents/<id>/ | babygun decode

A content of several chunks needs ``-w json``.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babygun.cli.output import as_json
from babygun.errors import BabygunError
from babygun.store import codec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", nargs="?", help="file with etcdctl's output (default: standard input)"
    )


def run(arguments: argparse.Namespace) -> int:
    data = Path(arguments.file).read_bytes() if arguments.file else sys.stdin.buffer.read()
    found = False
    for key, value in decode(data):
        found = True
        print(as_json({"key": key, "value": value} if key else value))
    if not found:
        raise BabygunError("nothing to decode: is the key right?")
    return 0


def decode(data: bytes) -> Iterator[tuple[str, Any]]:
    """Pairs of a key and its value. The key is empty if only values were printed.

    Raises BabygunError.
    """
    try:
        document = json.loads(data)
    except ValueError:
        yield from _decode_plain(data)
        return
    if isinstance(document, dict) and "header" in document:
        yield from _decode_json(document)
    else:
        yield "", document


def _decode_json(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Output of ``-w json``: keys and values in base64. Joins the chunks of a content."""

    def name(kv: dict[str, Any]) -> str:
        key = base64.b64decode(kv["key"]).decode()
        return key.rpartition("/")[0] if "/contents/" in key else key  # without the chunk's number

    for key, kvs in itertools.groupby(document.get("kvs", []), name):
        chunks = [base64.b64decode(kv.get("value", "")) for kv in kvs]
        yield key, _value(b"".join(chunks))[0]


def _decode_plain(data: bytes) -> Iterator[tuple[str, Any]]:
    """Plain output: a line with the key, then the value and a line break.

    With ``--print-value-only`` the lines with keys are missing.
    """
    while data:
        key = ""
        if data.startswith(b"/"):
            line, _, data = data.partition(b"\n")
            key = line.decode()
            if not data:  # --keys-only
                yield key, None
                return
        if "/contents/" in key and b"\n" + key[:-4].encode() + b"0001\n" in data:
            raise BabygunError(f"{key} is the first of several chunks: use etcdctl get -w json")
        value, length = _value(data)
        if data[length : length + 1] not in (b"\n", b""):
            raise BabygunError("a value does not end where it should: use etcdctl get -w json")
        yield key, value
        data = data[length + 1 :]


def _value(data: bytes) -> tuple[Any, int]:
    """The value at the start of ``data``, and its length."""
    if data[:1] in (b"\n", b""):
        return None, 0
    if data[:1] == b"{":
        line = data.partition(b"\n")[0]
        try:
            return json.loads(line), len(line)
        except ValueError as error:
            raise BabygunError(f"a value begins like JSON but is not valid: {error}") from None
    try:
        if codec.is_compressed(data):
            value, length = codec.decompressed_first(data)
            return json.loads(value), length
        return codec.decode_first(data)
    except ValueError as error:
        raise BabygunError(f"{error}. If in doubt, use etcdctl get -w json") from None
