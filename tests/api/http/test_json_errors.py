"""Why JSON is refused, in our words: never in those of the decoder."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from babygun.api.http.json_body import JsonBody
from babygun.api.http.json_errors import explain, malformed
from babygun.api.http.problems import Problem
from babygun.errors import InvalidRequest


class Everything(msgspec.Struct, forbid_unknown_fields=True):
    """A field for each rule that a body may have."""

    count: Annotated[int, Meta(ge=1, le=9)] = 1
    share: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    text: Annotated[str, Meta(min_length=2, max_length=3, pattern="^a")] = "ab"
    many: Annotated[list[int], Meta(min_length=1)] | None = None
    named: Annotated[dict[str, int], Meta(max_length=1)] | None = None
    at: Annotated[datetime, Meta(tz=True)] | None = None
    kind: Literal["a", "b"] | None = None
    content: bytes | None = None
    on: bool = False


BODY = JsonBody(Everything)
TIME = "Give a time with an offset (RFC 3339), such as 2030-01-31T08:00:00Z."
VALUES: list[tuple[str, Any, str]] = [
    ("count", 0, "It must be at least 1."),
    ("count", 10, "It must be at most 9."),
    ("count", "1", "It must be a whole number, and is a text."),
    ("share", 0, "It must be more than 0."),
    ("share", 1.0, "It must be less than 1."),
    ("text", "a", "It must have at least 2 characters."),
    ("text", "abcd", "It must have at most 3 characters."),
    ("text", "ba", "It has another form."),
    ("many", [], "It must have at least 1 entry."),
    ("named", {"a": 1, "b": 2}, "It must have at most 1 entry."),
    ("named", {"a": "1"}, "It must be a whole number, and is a text."),
    ("at", 1, "It must be a time or null, and is a whole number."),
    ("at", "tomorrow", TIME),
    ("at", "2030-01-31T08:00:00", TIME),
    ("kind", "c", "It must be one of a, b."),
    ("kind", 1, "It must be a text or null, and is a whole number."),
    ("content", "*", "It is not base64."),
    ("content", 1, "It must be a text in base64 or null, and is a whole number."),
    ("on", "yes", "It must be true or false, and is a text."),
    ("main", 1, "There is no field `main`; did you mean `many`?"),
]
SYNTAX = [
    ('{"a" 1}', "behind a name, the colon is missing (byte 5)"),
    ('{"count":01}', "a number is not in JSON's form (byte 10)"),
    ('{"count":1,}', "an object ends with a comma (byte 11)"),
    ('{"many":[1,]}', "a list ends with a comma (byte 11)"),
    ('{"many":[1 2]}', "in a list, a comma or ] is missing (byte 11)"),
    ('{"count":1 "on":true}', "in an object, a comma or } is missing (byte 11)"),
    (r'{"text":"\q"}', "a backslash is before a character that needs none (byte 11)"),
    (r'{"text":"\u12"}', r"\u needs four hex digits (byte 14)"),
    ('{"text":"a\1"}', "a character is not allowed there (byte 10)"),
    ("{1:2}", "a name is not in quotation marks (byte 1)"),
    ("{} x", "something follows its end (byte 4)"),
]


@pytest.mark.parametrize(("field", "value", "detail"), VALUES)
def test_value_that_does_not_fit_is_explained_in_our_words(
    field: str, value: Any, detail: str
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        BODY.decode(json.dumps({field: value}).encode())
    [violation] = raised.value.violations
    assert (violation.field, violation.detail) == (field, detail)


@pytest.mark.parametrize(("raw", "words"), SYNTAX)
def test_json_that_can_not_be_read_is_explained_in_our_words(raw: str, words: str) -> None:
    with pytest.raises(Problem) as raised:
        BODY.decode(raw.encode())
    assert raised.value.detail == f"The body is not JSON: {words}."


def test_message_of_the_decoder_that_no_row_knows_is_not_repeated() -> None:
    detail, field = explain("Expected `Decimal` in a new form - at `$.a[0]`", {}, {})
    assert field == "a[0]" and "Decimal" not in detail
    assert "quux" not in malformed(b"x", "JSON is malformed: quux (byte 7)")
