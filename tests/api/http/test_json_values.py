"""Values are counted as a decoder would find them, without decoding."""

from __future__ import annotations

import asyncio
import json
import random
from io import BytesIO
from typing import Any

import pytest

from babygun.api.http import json_values
from babygun.api.http.json_values import MAX_VALUES, check_values
from babygun.api.http.problems import Problem
from scripts.attack.bombs import many_keys, many_values
from tests.support.api import RunningApi

MANY = MAX_VALUES + 1


def counted(value: Any) -> int:
    """Lists, objects, and what stands behind a comma."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(0, len(value) - 1) + sum(map(counted, inner))
    return 0


def anything(source: random.Random, depth: int = 0) -> Any:
    text = "".join(source.choices('a\\",:[]{}\n\u00fc\U0001f600', k=source.randrange(12)))
    match source.randrange(4 if depth < 5 else 2):
        case 0:
            return source.choice([None, True, 7, -1.5])
        case 1:
            return text
        case 2:
            return [anything(source, depth + 1) for _ in range(source.randrange(8))]
    return {f"{text}{n}": anything(source, depth + 1) for n in range(source.randrange(8))}


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1 << 18])
def test_values_are_counted_wherever_the_steps_end(
    monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(json_values, "_STEP", step)
    source = random.Random(step)
    for _ in range(200):
        value = anything(source)
        raw = json.dumps(value, ensure_ascii=source.random() < 0.5).encode()
        *_, count = json_values._counts(raw)
        assert count == counted(value), raw


TOO_MANY = [
    many_keys("metadata", MANY),
    many_keys("headers", MANY),
    many_values("headers", '"a: b"', MANY),
    many_values("tags", '""', MANY),
    many_values("to", '"a@b.example"', MANY),
    many_values("recipients", '{"email":"a@b.example"}', MANY),
    many_values("attachments", '{"content":""}', MANY),
    many_values("unknown", "0", MANY),
    many_values("unknown", "[[[[]]]]", MANY),
    b"[" * 2 * MANY,
    b'{"a":"' + b'\\"",' * 2 * MANY,
]


async def test_email_of_too_many_values_is_refused_in_steps(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []
    monkeypatch.setattr("babygun.api.emails.send._body._decode", decoded.append)
    for raw in TOO_MANY:
        answer = await api.call(
            "POST", "/emails", data=BytesIO(raw), content_type="application/json"
        )
        detail = answer.problem(413, "too-large", "body")["detail"]
        assert detail == f"It has more than {MAX_VALUES:,} JSON values."
        assert not decoded


async def test_text_full_of_commas_is_one_value() -> None:
    await check_values(json.dumps({"html": ',[{"\\' * 2_000_000}).encode())


async def test_other_tasks_have_their_turn_while_values_are_counted() -> None:
    counting = asyncio.create_task(check_values(b'"' + b"a" * (8 << 20) + b'"'))
    turns = 0
    while not counting.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 30


async def test_largest_number_of_values_that_an_email_needs_is_taken() -> None:
    recipients = [{"email": f"{n}@example.org", "kind": "to"} for n in range(10_000)]
    raw = json.dumps({"recipients": recipients, "headers": ["a: b"] * 100}).encode()
    await check_values(raw)
    with pytest.raises(Problem):
        await check_values(raw, 30_000)
