"""``babygun decode``: what etcdctl printed, readable. Jobs and contents are msgpack; states are JSON as they are.

etcdctl get --prefix /babygun/jobs/ | babygun decode
etcdctl get --prefix -w json /babygun/contents/<id>/ | babygun decode      (contents of several chunks need -w json)
"""

from __future__ import annotations

import argparse
import base64
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
        raise BabygunError("there is nothing to decode: is the key right?")
    return 0


def decode(data: bytes) -> Iterator[tuple[str, Any]]:
    """Keys (empty where only values were printed) and their values as plain data. Raises BabygunError."""
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
    """``-w json``: keys and values in base64. The chunks of one content are put together."""
    content: list[bytes] = []
    kvs = document.get("kvs", [])
    for index, kv in enumerate(kvs):
        key, value = base64.b64decode(kv["key"]).decode(), base64.b64decode(kv.get("value", ""))
        if "/contents/" in key:
            content.append(value)
            following = (
                base64.b64decode(kvs[index + 1]["key"]).decode() if index + 1 < len(kvs) else ""
            )
            if following.rpartition("/")[0] == key.rpartition("/")[0]:
                continue
            key, value, content = key.rpartition("/")[0], b"".join(content), []
        yield key, _value(value)[0]


def _decode_plain(data: bytes) -> Iterator[tuple[str, Any]]:
    """A key's line, then its value and a line break; or values alone (``--print-value-only``)."""
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
    """The value that ``data`` begins with, and its length."""
    if data[:1] in (b"\n", b""):
        return None, 0
    if data[:1] == b"{":
        line = data.partition(b"\n")[0]
        try:
            return json.loads(line), len(line)
        except ValueError as error:
            raise BabygunError(f"a value that looks like JSON isn't: {error}") from None
    try:
        return codec.decode_first(data)
    except ValueError as error:
        raise BabygunError(
            f"{error}. A content of several chunks, or any doubt: use etcdctl get -w json"
        ) from None
