"""Examples are composed of those that the fields of a type name."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from babygun.api.openapi.schemas import Schemas


class Inner(msgspec.Struct):
    size: Annotated[int, Meta(examples=[3])]
    kind: Literal["large", "small"]


class Outer(msgspec.Struct, rename={"number": "try"}):
    number: Annotated[int, Meta(examples=[1, 2])]
    inner: list[Inner] | None
    reason: str | None
    metadata: dict[str, str]
    done: bool


class Nameless(msgspec.Struct):
    inner: list[Annotated[str, Meta(description="no example")]]


def test_example_is_composed_of_the_fields_first_examples() -> None:
    schemas = Schemas([Inner, Outer])
    assert schemas.example(schemas.of(Outer)) == {
        "try": 1,
        "inner": [{"size": 3, "kind": "large"}],
        "reason": None,
        "metadata": {},
        "done": False,
    }


def test_field_without_an_example_is_named() -> None:
    schemas = Schemas([Nameless])
    with pytest.raises(LookupError, match=r"Nameless\.inner\[\] needs an example"):
        schemas.example(schemas.of(Nameless))


def test_example_is_composed_of_what_is_given_and_of_examples() -> None:
    schemas = Schemas([Inner, Outer])
    given = {"try": 7, "metadata": {"order": "1"}}
    made = schemas.example_with(schemas.of(Outer), given)
    assert made == schemas.example(schemas.of(Outer)) | given
    kind = list[Inner]
    listed = Schemas([kind])
    assert listed.example_with(listed.of(kind), [{}, {"size": 4}]) == [
        {"size": 3, "kind": "large"},
        {"size": 4, "kind": "large"},
    ]
