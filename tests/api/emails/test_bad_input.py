"""Bad input over HTTP: status, problem and field; nothing is left in etcd.

Each rule on its own is tested in tests/intake, and each kind of bad JSON in tests/api/http.
"""

from __future__ import annotations

import base64
from typing import Any

from babygun.store import Store
from babygun.store.keys import range_end
from tests.api.conftest import RunningApi, StartApi, fields_of

JSON = {"Content-Type": "application/json"}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


FILE = {"filename": "a.txt", "content": b64(b"hi")}


async def test_body_that_is_no_json_is_refused(api: RunningApi) -> None:
    for body in (b"", b'{"sender": "a@example.com", "to"', b'{"sender": "\xff@example.com"}'):
        answer = await api.call("POST", "/emails", data=body, headers=JSON)
        answer.problem(400, "malformed-json")


async def test_body_that_is_no_object_is_refused(api: RunningApi) -> None:
    for body in (b"[]", b"null"):
        answer = await api.call("POST", "/emails", data=body, headers=JSON)
        answer.problem(422, "invalid-request", "body")


async def test_email_that_breaks_a_rule_is_refused_and_leaves_no_trace(
    api: RunningApi, store: Store
) -> None:
    rows: list[tuple[dict[str, Any], str]] = [
        ({"sender": 1}, "sender"),
        ({"sender": None}, "sender"),
        ({"attachements": []}, "attachements"),
        ({"to": ["a@example.org", "b@@example.org"]}, "to[1]"),
        ({"headers": {"Bcc": "x"}}, "headers.Bcc"),
        ({"attachments": [FILE | {"filename": "../a"}]}, "attachments[0].filename"),
    ]
    for changes, field in rows:
        answer = await api.send(http_headers={"Idempotency-Key": "k"}, **changes)
        answer.problem(422, "invalid-request", field)
    assert await emails_in(store) == 0


async def emails_in(store: Store) -> int:
    keys = store.keys
    return sum(
        [
            (await store.client.range(prefix, range_end(prefix))).count
            for prefix in (keys.emails, keys.contents, keys.logs, keys.jobs, keys.idempotencies)
        ]
    )


async def test_email_that_breaks_several_rules_is_told_all_of_them(api: RunningApi) -> None:
    problem = (
        await api.send(sender="x", to=["a@example.org", "y"], subject="\n", tags=["!"])
    ).problem(422, "invalid-request", "sender")
    assert fields_of(problem) == ["sender", "to[1]", "subject", "tags[0]"]


async def test_sizes_over_their_limits_are_refused_as_too_large(
    start_api: StartApi, store: Store
) -> None:
    api = await start_api(max_body=1000, max_attachments=1000, max_request=10_000)
    rows: list[tuple[dict[str, Any], str]] = [
        ({"body": "a" * 1001}, "body"),
        ({"body": "ä" * 501}, "body"),
        ({"html": "a" * 1001}, "html"),
        ({"attachments": [FILE, FILE | {"content": b64(b"a" * 999)}]}, "attachments"),
        ({"attachments": [FILE] * 101}, "attachments"),
        ({"metadata": {"a": "b" * 4096}}, "metadata"),
        ({"metadata": {"a": "b" * 12_000}}, "body"),  # the whole request
    ]
    for changes, field in rows:
        (await api.send(**changes)).problem(413, "too-large", field)
    assert await emails_in(store) == 0
    assert (
        await api.send(body="ä" * 500, attachments=[FILE | {"content": b64(b"a" * 1000)}])
    ).status == 202


async def test_idempotency_key_of_no_form_is_refused(api: RunningApi) -> None:
    for key in ("", "a" * 256, "schlüssel"):
        (await api.send(http_headers={"Idempotency-Key": key})).problem(
            422, "invalid-request", "Idempotency-Key"
        )


async def test_email_without_any_relay_configured_is_refused(
    start_api: StartApi, api: RunningApi
) -> None:
    bare = await start_api(ready=False, relay_url="")
    (await bare.call("GET", "/readyz", token="")).problem(503, "not-ready")
    answer = await bare.send(api.token)
    answer.problem(503, "no-relay")
    assert answer.headers["Retry-After"]
