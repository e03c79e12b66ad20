"""The body of a batch: a list of e-mails, each understood on its own."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from babygun.api.emails.batch_body import read_batch
from babygun.api.http.problem_types import MALFORMED_JSON
from babygun.api.http.problems import Problem
from babygun.errors import InvalidRequest
from babygun.intake.request import EmailRequest
from tests.support.api import EMAIL

MANY = b"[" + b'{"sender":"a"},' * 200_000 + b"0]"


def unfit(body: bytes) -> tuple[str, str]:
    """The field and the detail with which a body is refused."""
    with pytest.raises(InvalidRequest) as raised:
        read_batch(body)
    [violation] = raised.value.violations
    return violation.field, violation.detail


def test_emails_are_read_in_order() -> None:
    body = json.dumps([EMAIL | {"subject": str(n)} for n in range(1000)]).encode()
    entries = read_batch(body)
    assert [entry.subject for entry in entries if isinstance(entry, EmailRequest)] == [
        str(n) for n in range(1000)
    ]


def test_email_that_does_not_fit_leaves_the_others_alone() -> None:
    good, bad, none = read_batch(json.dumps([EMAIL, EMAIL | {"subject": 7}, 7]).encode())
    assert isinstance(good, EmailRequest)
    assert isinstance(bad, InvalidRequest) and isinstance(none, InvalidRequest)
    assert [(v.field, v.detail) for v in (*bad.violations, *none.violations)] == [
        ("subject", "It must be a text or null, and is a whole number."),
        ("", "It must be an object, and is a whole number."),
    ]


def test_body_that_is_no_list_is_refused() -> None:
    for body in (b"{}", b"null", b'"x"', json.dumps(EMAIL).encode()):
        assert unfit(body)[0] == "body"


def test_empty_list_is_refused() -> None:
    assert unfit(b"[]") == ("body", "There is no e-mail in the list.")


def test_list_of_more_than_1000_is_refused() -> None:
    for body in (json.dumps([EMAIL] * 1001).encode(), b"[" + b"0," * 1_000_000 + b"0]", MANY):
        assert unfit(body) == ("body", "There are more than 1,000 e-mails; send several batches.")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b'[{"sender":"a@example.com"},',
        b'[{"sender":1},{"sender":"\xff"}]',
        b'[{"sender":"\\ud800"}]',
        b"[" * 2_000_000 + b"]" * 2_000_000,
    ],
    ids=["nothing", "half", "cut off", "not UTF-8", "surrogate", "deep"],
)
def test_body_that_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(Problem) as raised:
        read_batch(body)
    assert raised.value.kind is MALFORMED_JSON and raised.value.field is None


def test_reading_takes_no_memory_for_entries_beyond_the_limit() -> None:
    tracemalloc.start()
    try:
        unfit(MANY)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
