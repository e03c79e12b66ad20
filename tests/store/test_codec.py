"""What another version has written can be read: docs/rollback.md."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest

import babygun.email
import babygun.store
from babygun.email.model import Content, Email, Job, LogEntry, Part
from babygun.store import codec

LATER = {"later": {"a": ["field", 1]}}  # what a later version might add


# Modules whose structs are values in etcd, or parts of such.
STORED = {"known", "model", "records", "secret_keys", "sending_domains", "suppression"}


def structs() -> Iterator[type[msgspec.Struct]]:
    for package in (babygun.email, babygun.store):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.rpartition(".")[2] in STORED:
                for found in vars(importlib.import_module(module.name)).values():
                    if (
                        isinstance(found, type)
                        and issubclass(found, msgspec.Struct)
                        and found.__module__ == module.name
                    ):
                        yield found


KINDS = sorted(set(structs()), key=lambda kind: f"{kind.__module__}.{kind.__qualname__}")


def example(of: msgspec.inspect.Type) -> Any:
    """Plain data of a type, with a field of a later version in each object."""
    match of:
        case msgspec.inspect.StructType(array_like=True):
            return [*(example(field.type) for field in of.fields), LATER]
        case msgspec.inspect.StructType():
            return {field.encode_name: example(field.type) for field in of.fields} | LATER
        case msgspec.inspect.VarTupleType() | msgspec.inspect.ListType():
            return [example(of.item_type)]
        case msgspec.inspect.TupleType():
            return [example(each) for each in of.item_types]
        case msgspec.inspect.DictType():
            return {"1": example(of.value_type)}
        case msgspec.inspect.UnionType():
            return example(
                next(each for each in of.types if not isinstance(each, msgspec.inspect.NoneType))
            )
        case msgspec.inspect.LiteralType():
            return of.values[0]
        case msgspec.inspect.DateTimeType():
            return datetime(2026, 11, 30, tzinfo=UTC)
        case msgspec.inspect.DateType():
            return date(2026, 11, 30)
        case msgspec.inspect.BytesType():
            return b"eA=="
        case msgspec.inspect.BoolType():
            return True
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            return 1
        case _:
            return "x"


def without_later(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_later(each) for name, each in value.items() if name != "later"}
    if isinstance(value, list):
        return [without_later(each) for each in value if each != LATER]
    return value


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_value_of_a_later_version_is_read_without_what_is_unknown(
    kind: type[msgspec.Struct],
) -> None:
    later = example(msgspec.inspect.type_info(kind))
    found = msgspec.json.decode(msgspec.json.encode(later), type=kind)
    assert found == msgspec.json.decode(msgspec.json.encode(without_later(later)), type=kind)


@pytest.mark.parametrize(
    ("decode", "kind", "encode"),
    [
        (codec.decode_email, Email, msgspec.json.encode),
        (codec.decode_part, Part, msgspec.json.encode),
        (codec.decode_log_entry, LogEntry, msgspec.json.encode),
        (codec.decode_job, Job, msgspec.msgpack.encode),
        (codec.decode_content, Content, msgspec.msgpack.encode),
    ],
)
def test_decoder_of_a_kind_reads_what_a_later_version_wrote(
    decode: Any, kind: type[msgspec.Struct], encode: Any
) -> None:
    later = example(msgspec.inspect.type_info(kind))
    assert decode(encode(later)) == decode(encode(without_later(later)))
