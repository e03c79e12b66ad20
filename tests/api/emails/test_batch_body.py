"""The body of a batch: a list of e-mails, each understood on its own."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from babygun.api.emails.batch_body import read_batch
from babygun.api.http.problem_types import MALFORMED_JSON, TOO_LARGE
from babygun.api.http.problems import Problem
from babygun.errors import InvalidRequest
from babygun.intake.request import EmailRequest
from scripts.attack.bombs import many_keys, many_values
from tests.support.api import EMAIL

MANY = b"[" + b'{"sender":"a"},' * 200_000 + b"0]"


async def unfit(body: bytes) -> tuple[str, str]:
    """The field and the detail with which a body is refused."""
    with pytest.raises(InvalidRequest) as raised:
        await read_batch(body)
    [violation] = raised.value.violations
    return violation.field, violation.detail


async def test_emails_are_read_in_order() -> None:
    body = json.dumps([EMAIL | {"subject": str(n)} for n in range(1000)]).encode()
    entries = await read_batch(body)
    assert [entry.subject for entry in entries if isinstance(entry, EmailRequest)] == [
        str(n) for n in range(1000)
    ]


async def test_email_that_does_not_fit_leaves_the_others_alone() -> None:
    good, bad, none = await read_batch(json.dumps([EMAIL, EMAIL | {"subject": 7}, 7]).encode())
    assert isinstance(good, EmailRequest)
    assert isinstance(bad, InvalidRequest) and isinstance(none, InvalidRequest)
    assert [(v.field, v.detail) for v in (*bad.violations, *none.violations)] == [
        ("subject", "It must be a text or null, and is a whole number."),
        ("", "It must be an object, and is a whole number."),
    ]


async def test_body_that_is_no_list_is_refused() -> None:
    for body in (b"{}", b"null", b'"x"', json.dumps(EMAIL).encode()):
        assert (await unfit(body))[0] == "body"


async def test_empty_list_is_refused() -> None:
    assert await unfit(b"[]") == ("body", "There is no e-mail in the list.")


async def test_list_of_more_than_1000_is_refused() -> None:
    for body in (json.dumps([EMAIL] * 1001).encode(), b"[" + b"0," * 900_000 + b"0]", MANY):
        assert await unfit(body) == (
            "body",
            "There are more than 1,000 e-mails; send several batches.",
        )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b'[{"sender":"a@example.com"},',
        b'[{"sender":1},{"sender":"\xff"}]',
        b'[{"sender":"\\ud800"}]',
        b"[" * 500_000 + b"]" * 500_000,
    ],
    ids=["nothing", "half", "cut off", "not UTF-8", "surrogate", "deep"],
)
async def test_body_that_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(Problem) as raised:
        await read_batch(body)
    assert raised.value.kind is MALFORMED_JSON and raised.value.field is None


async def test_reading_takes_no_memory_for_entries_beyond_the_limit() -> None:
    tracemalloc.start()
    try:
        await unfit(MANY)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


async def test_batch_of_too_many_values_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(Problem, match="more than 2,000,000 JSON values") as raised:
        await read_batch(b"[" + many_values("tags", "0", 2_000_001) + b"]")
    assert raised.value.kind is TOO_LARGE


async def test_email_of_too_many_values_leaves_the_others_of_its_batch_alone() -> None:
    good, bad = await read_batch(
        b"[%b,%b]" % (json.dumps(EMAIL).encode(), many_keys("metadata", 60_000))
    )
    assert isinstance(good, EmailRequest) and isinstance(bad, InvalidRequest)
    assert bad.too_large and str(bad) == "It has more than 50,000 JSON values."
