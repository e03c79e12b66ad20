"""What does not fit as the JSON of a body, and how its error names it."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from typing import Any

import pytest

from babygun.api.http.json_body import JsonBody
from babygun.api.http.json_values import UNCOUNTED
from babygun.api.http.problem_types import MALFORMED_JSON
from babygun.api.http.problems import Problem
from babygun.errors import InvalidRequest
from babygun.intake.base64_content import tidy_contents
from babygun.intake.request import EmailRequest
from tests.support.api import EMAIL

JSON = {"Content-Type": "application/json"}
FILE = {"filename": "a.txt", "content": "aGk="}
_body = JsonBody(EmailRequest)
_tidied = JsonBody(EmailRequest, tidy=tidy_contents)


def unfit(raw: bytes) -> tuple[str, str]:
    """The field and the detail with which a body is refused."""
    with pytest.raises(InvalidRequest) as raised:
        _body.decode(raw)
    [violation] = raised.value.violations
    return violation.field, violation.detail


def unfit_email(**changes: Any) -> tuple[str, str]:
    email = {name: value for name, value in (EMAIL | changes).items() if value is not None}
    return unfit(json.dumps(email).encode())


def malformed(raw: bytes) -> str:
    """The detail with which a body is refused that is no JSON."""
    with pytest.raises(Problem) as raised:
        _body.decode(raw)
    assert raised.value.kind is MALFORMED_JSON and raised.value.field is None
    return raised.value.detail


def test_value_of_a_wrong_type_is_named_with_what_it_must_be() -> None:
    assert unfit_email(sender=1) == ("sender", "It must be a text, and is a whole number.")
    assert unfit_email(to=1) == (
        "to",
        "It must be a text or a list or null, and is a whole number.",
    )
    assert unfit_email(to=["a@example.org", 2])[0] == "to[1]"
    assert unfit_email(to={"email": "a@example.org"})[0] == "to"
    assert unfit_email(subject=["a"])[0] == "subject"
    assert unfit_email(metadata={"a": 1})[0] == "metadata"
    assert unfit_email(headers=1)[0] == "headers"
    assert unfit_email(attachments={}) == (
        "attachments",
        "It must be a list or null, and is an object.",
    )


def test_value_outside_of_its_choices_is_named_with_the_choices() -> None:
    assert unfit_email(recipients=[{"email": "a@example.org", "kind": "from"}]) == (
        "recipients[0].kind",
        "It must be one of bcc, cc, to.",
    )


def test_missing_field_is_named() -> None:
    assert unfit_email(sender=None) == ("sender", "This field is required.")
    assert unfit_email(recipients=[{"kind": "to"}])[0] == "recipients[0].email"


def test_unknown_field_is_named() -> None:
    assert unfit_email(**{"from": "a@example.com"}) == (
        "from",
        "There is no field `from`; did you mean `sender`?",
    )
    assert unfit_email(attachements=[])[1].endswith("did you mean `attachments`?")
    assert unfit_email(xyz=1) == ("xyz", "There is no field `xyz`.")
    recipient = {"email": "a@example.org", "name": "A"}
    assert unfit_email(recipients=[recipient])[0] == "recipients[0].name"
    assert unfit_email(attachments=[FILE | {"path": "/tmp"}])[0] == "attachments[0].path"


def test_content_that_is_no_base64_is_named() -> None:
    assert unfit_email(attachments=[FILE, FILE | {"content": "*"}])[0] == "attachments[1].content"
    assert unfit_email(attachments=[FILE | {"content": "YQ"}])[0] == "attachments[0].content"


def test_text_over_its_length_is_named_with_the_limit() -> None:
    assert unfit_email(attachments=[FILE | {"filename": "a" * 256}]) == (
        "attachments[0].filename",
        "It must have at most 255 characters.",
    )


def test_time_without_an_offset_or_of_no_form_is_named_with_one_that_fits() -> None:
    for given in ("2030-01-31T08:00:00", "tomorrow", "2030-01-31"):
        field, detail = unfit_email(send_at=given)
        assert field == "send_at" and "with an offset (RFC 3339), such as 2030-" in detail
    assert unfit_email(send_at=1893456000)[0] == "send_at"


def test_body_that_is_no_object_is_named_as_a_whole() -> None:
    assert unfit(b"[]") == ("body", "It must be an object, and is a list.")
    assert unfit(b"null") == ("body", "It must be an object, and is null.")


def test_deep_nesting_is_refused() -> None:
    assert unfit(b'{"sender": "a@example.com", "metadata": {"a": ' + b"[" * 100_000)[0] == (
        "metadata"
    )
    with pytest.raises(Problem, match="nested too deeply"):
        JsonBody(dict[str, Any]).decode(b'{"a":' + b"[" * 100_000)


def test_body_that_is_no_json_is_refused_with_the_reason() -> None:
    assert malformed(b"") == "The body is empty."
    assert "ends in the middle" in malformed(b'{"sender": "a@example.com", "to"')
    assert "not UTF-8" in malformed(b'{"sender": "\xff@example.com"}')
    assert malformed(b'{"sender": "a\x00"}').startswith("The body is not JSON: ")
    assert malformed(b'{"sender": "a", "to": "b"} x').startswith("The body is not JSON: ")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (
            rb'{"sender": "\ud800"}',
            "half of a surrogate pair, which stands for no character (byte 12)",
        ),
        (rb'{"sender": "\\ud800", "subject": "\ud83d\ude00", "body": "\udc00"', "(byte 58)"),
        (rb'{"sender": "\ud83d\ude00", "subject": "\ud83dx"}', "(byte 39)"),
        (rb'{"sender": "\ud83d\ude00"', "ends in the middle of its JSON"),
        (rb'{"sender": "\ud83d', "half of a surrogate pair"),
        (rb'{"sender": "\\ud800"', "ends in the middle of its JSON"),
        (rb'{"sender": "\\\ud800"', "(byte 14)"),
        (rb'{"sender": "\ud83d\\ude00"', "(byte 12)"),
        (rb'{"sender": "\uD83D\uDE00\uDE00"', "(byte 24)"),
        (b'{"sender": "' + rb"\ud83d\ude00" * 400_000, "ends in the middle of its JSON"),
    ],
)
def test_half_of_a_surrogate_pair_is_distinguished_from_a_body_cut_off(
    raw: bytes, words: str
) -> None:
    assert words in malformed(raw)


async def test_large_body_is_decoded_beside_other_tasks() -> None:
    files = [{"content": base64.encodebytes(bytes(3_000_000)).decode()}] * 2
    reading = asyncio.create_task(
        _tidied.decode_large(json.dumps(EMAIL | {"attachments": files}).encode())
    )
    turns = 0
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 2
    assert [len(file.content) for file in (await reading).attachments or ()] == [3_000_000] * 2


async def test_large_bodies_are_decoded_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoding, overlapped = threading.Lock(), []

    def decode(raw: bytes) -> bytes:
        overlapped.append(not decoding.acquire(blocking=False))
        time.sleep(0.01)  # as a large body takes, for others to begin
        if not overlapped[-1]:
            decoding.release()
        return raw

    body = JsonBody(str)
    monkeypatch.setattr(body, "decode", decode)
    large = b'"' + b"x" * UNCOUNTED + b'"'
    assert await asyncio.gather(*(body.decode_large(large) for _ in range(4))) == [large] * 4
    assert overlapped == [False] * 4
