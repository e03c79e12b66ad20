"""POST /emails: what is accepted, a repeated Idempotency-Key, and what is refused.

Each rule on its own is tested in tests/intake, and each kind of bad JSON in tests/api/http.
"""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from babygun.email.suppression import Suppression
from babygun.runtime.clock import utc_now
from babygun.store import Store
from babygun.store.access.clients import get_client
from babygun.store.keys import JobRef, range_end
from babygun.store.suppressions.suppressions import add
from tests.support.api import EMAIL, RunningApi, StartApi, fields_of
from tests.support.invariants import check_invariants
from tests.support.tries import claimed

JSON = {"Content-Type": "application/json"}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


FILE = {"filename": "a.txt", "content": b64(b"hi")}


async def test_accepted_email_is_in_etcd_when_the_answer_comes(
    api: RunningApi, store: Store
) -> None:
    before = utc_now()
    answer = await api.send()
    assert answer.status == 202
    email_id = answer.json["id"]
    assert answer.headers["Location"] == f"/emails/{email_id}"
    assert answer.json["status"] == "incomplete"
    assert answer.json["recipients"] == 1
    created = datetime.fromisoformat(answer.json["created_at"])
    assert before - timedelta(seconds=5) < created < utc_now() + timedelta(seconds=5)
    keys = store.keys
    for key in (
        keys.email(email_id),
        keys.chunk(email_id, 0),
        keys.job(JobRef(email_id, "default")),
    ):
        assert await store.client.get(key), key


async def test_email_is_shown_with_every_field_that_was_given(api: RunningApi) -> None:
    email_id = await api.accepted(
        sender="Shop <shop@example.com>",
        to=["Ann <ann@example.org>", "bob@example.org"],
        cc="carl@example.org",
        bcc=["dora@example.org"],
        reply_to="help@example.com",
        subject="Grüße № 1",
        body="Text ☃\n",
        html="<p>HTML</p>",
        headers={"X-Order": "1"},
        attachments=[
            {
                "filename": "ä.txt",
                "content_type": "text/plain",
                "content": b64(b"hi"),
                "content_id": "c1",
            }
        ],
        tags=["order", "order", "a:b"],
        metadata={"order": "1"},
    )
    answer = await api.call("GET", f"/emails/{email_id}")
    email = answer.json
    recipients = email.pop("recipients")
    created = email.pop("created_at")
    assert email.pop("updated_at") == created
    assert email.pop("client_id")
    assert email.pop("size") > 0
    assert email.pop("revision") > 0
    assert email == {
        "id": email_id,
        "sender": "Shop <shop@example.com>",
        "to": ["Ann <ann@example.org>", "bob@example.org"],
        "cc": ["carl@example.org"],
        "bcc": ["dora@example.org"],
        "subject": "Grüße № 1",
        "body": "Text ☃\n",
        "html": "<p>HTML</p>",
        "headers": ["X-Order: 1"],
        "reply_to": ["help@example.com"],
        "attachments": [
            {
                "filename": "ä.txt",
                "content_type": "text/plain",
                "content_id": "c1",
                "alternative": False,
                "size": 2,
            }
        ],
        "not_before": None,
        "send_at": None,
        "status": "incomplete",
        "status_reason": None,
        "tries": 0,
        "worker_id": None,
        "tags": ["order", "a:b"],
        "metadata": {"order": "1"},
        "content_expired": False,
        "sending": [],
        "expires_at": None,
        "held": [],
        "list": None,
        "many": None,
        "waits": [
            {
                "queue": "default",
                "site": "default",
                "why": "ready",
                "until": None,
                "reply": None,
                "others": None,
                "explanation": "it is next in line",
            }
        ],
        "tls": [],
    }
    assert [(r["email"], r["kind"]) for r in recipients] == [
        ("ann@example.org", "to"),
        ("bob@example.org", "to"),
        ("carl@example.org", "cc"),
        ("dora@example.org", "bcc"),
    ]
    assert recipients[0] == {
        "email": "ann@example.org",
        "kind": "to",
        "status": "pending",
        "status_code": None,
        "enhanced_code": None,
        "status_reason": None,
        "reply_class": None,
        "queue": "default",
        "tries": 0,
        "updated_at": None,
        "late": False,
        "complained_at": None,
        "erased_at": None,
    }


async def test_recipients_by_kind_and_header_lines_are_taken_beside_the_other_forms(
    api: RunningApi,
) -> None:
    email_id = await api.accepted(
        to="ann@example.org",
        recipients=[
            {"email": "Bob <bob@example.org>"},
            {"email": "carl@example.org", "kind": "cc"},
            {"email": "dora@example.org", "kind": "bcc"},
        ],
        headers=[
            "X-A: 1",
            "X-A: 2",
            "List-Id:x",
            "Date: Mon, 24 Nov 2025 10:00:00 +0000",
            "Message-ID: <1@example.com>",
        ],
    )
    email = (await api.call("GET", f"/emails/{email_id}")).json
    assert [(r["email"], r["kind"]) for r in email["recipients"]] == [
        ("ann@example.org", "to"),
        ("bob@example.org", "to"),
        ("carl@example.org", "cc"),
        ("dora@example.org", "bcc"),
    ]
    assert email["headers"] == [
        "X-A: 1",
        "X-A: 2",
        "List-Id: x",
        "Date: Mon, 24 Nov 2025 10:00:00 +0000",
        "Message-ID: <1@example.com>",
    ]


async def test_fields_that_are_null_count_as_left_out(api: RunningApi) -> None:
    nothing = dict.fromkeys(
        [
            "cc",
            "bcc",
            "recipients",
            "reply_to",
            "subject",
            "body",
            "html",
            "headers",
            "attachments",
            "send_at",
            "tags",
            "metadata",
        ]
    )
    answer = await api.call(
        "POST", "/emails", json={"sender": "a@example.com", "to": "b@example.org", **nothing}
    )
    assert answer.status == 202


async def test_email_of_1000_recipients_is_accepted(api: RunningApi) -> None:
    email_id = await api.accepted(to=[f"a{n}@example.org" for n in range(1000)])
    assert len((await api.call("GET", f"/emails/{email_id}")).json["recipients"]) == 1000


async def test_large_attachment_is_kept_whole(api: RunningApi, store: Store) -> None:
    data = bytes(range(256)) * 4096 * 5
    email_id = await api.accepted(
        attachments=[{"filename": "a.bin", "content": base64.b64encode(data).decode()}]
    )
    held = await claimed(store, email_id)
    assert held.content.attachments[0].content == data


async def test_email_for_later_waits(api: RunningApi, store: Store) -> None:
    at = utc_now() + timedelta(hours=2)
    zone = at.astimezone(UTC).isoformat()
    email_id = await api.accepted(send_at=zone)
    email = (await api.call("GET", f"/emails/{email_id}")).json
    assert datetime.fromisoformat(email["not_before"]) == at
    assert await store.client.get(store.keys.job(JobRef(email_id, "default"))) is None
    assert await store.client.get(store.keys.not_before(at, JobRef(email_id, "default")))


async def test_repeated_call_gets_the_first_answer(api: RunningApi) -> None:
    key = {"Idempotency-Key": "order 1/é".replace("é", "e")}
    first, second = await api.send(http_headers=key), await api.send(http_headers=key)
    assert first.status == second.status == 202
    assert second.json == first.json
    assert second.headers["Location"] == first.headers["Location"]
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len((await api.call("GET", "/emails")).json["emails"]) == 1


async def test_repeated_key_with_another_body_is_refused(api: RunningApi) -> None:
    key = {"Idempotency-Key": "k"}
    await api.send(http_headers=key)
    (await api.send(http_headers=key, subject="Other")).problem(
        409, "idempotency-conflict", "Idempotency-Key"
    )
    assert len((await api.call("GET", "/emails")).json["emails"]) == 1


async def test_key_of_another_client_is_another_key(api: RunningApi) -> None:
    other = await api.token_for()
    key = {"Idempotency-Key": "k"}
    assert (await api.send(http_headers=key)).json["id"] != (
        await api.send(other, http_headers=key)
    ).json["id"]


async def test_twenty_calls_at_once_with_one_key_make_one_email(
    api: RunningApi, start_api: StartApi
) -> None:
    second = await start_api()
    answers = await asyncio.gather(
        *[
            (api, second)[n % 2].send(api.token, http_headers={"Idempotency-Key": "k"})
            for n in range(20)
        ]
    )
    assert {answer.status for answer in answers} == {202}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert len((await api.call("GET", "/emails")).json["emails"]) == 1


async def test_fingerprint_is_of_the_bytes_as_sent(api: RunningApi) -> None:
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    for indent, status in ((None, 202), (None, 202), (1, 409)):
        data: Any = json.dumps(EMAIL, indent=indent).encode()
        assert (await api.call("POST", "/emails", data=data, headers=headers)).status == status


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


async def test_email_that_breaks_several_rules_is_refused_with_all_of_them(api: RunningApi) -> None:
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


async def test_email_to_1000_domains_is_accepted_with_a_queue_for_each(
    start_api: StartApi, store: Store
) -> None:
    api = await start_api(default="mx", relays={}, relay_url="")
    addresses = [f"ann@d{number}.example" for number in range(1000)]
    email_id = await api.accepted(to=addresses)
    shown = (await api.call("GET", f"/emails/{email_id}")).json
    assert {r["email"]: r["queue"] for r in shown["recipients"]} == {
        address: f"mx:{address[4:]}" for address in addresses
    }
    assert len((await check_invariants(store)).jobs) == 1000


async def suppress(api: RunningApi, store: Store, token: str, *addresses: str) -> None:
    """Puts addresses on the list of the client whose token it is."""
    client_id = (await api.call("GET", "/session", token=token)).json["client_id"]
    client = await get_client(store, client_id)
    assert client is not None
    for address in addresses:
        await add(store, client.identity, address, Suppression("manual", utc_now()))


async def test_answer_names_the_suppressed_recipients_and_a_repeated_one_the_same(
    api: RunningApi, store: Store
) -> None:
    token = await api.token_for("emails:send", "emails:read", "suppressions")
    await suppress(api, store, token, "bob@example.org")
    key = {"Idempotency-Key": "k"}
    to = ["ann@example.org", "Bob@Example.org"]
    before = await api.metrics()
    first = await api.send(token, key, to=to)
    assert (first.status, first.json["status"]) == (202, "incomplete")
    assert (first.json["recipients"], first.json["suppressed"]) == (2, ["Bob@example.org"])
    await suppress(api, store, token, "ann@example.org")
    again = await api.send(token, key, to=to)
    assert again.headers["Idempotent-Replayed"] == "true" and again.json == first.json
    counted = "babygun_recipients_suppressed_total"
    assert (await api.metrics()).since(before, counted, reason="manual") == 1
    shown = (await api.call("GET", f"/emails/{first.json['id']}", token=token)).json
    assert [r["status"] for r in shown["recipients"]] == ["pending", "suppressed"]
    assert shown["recipients"][1]["reply_class"] == "manual"
    assert "suppressed since" in shown["recipients"][1]["status_reason"]


async def test_email_that_nobody_may_get_is_accepted_and_at_once_failed(
    api: RunningApi, store: Store
) -> None:
    await suppress(api, store, api.token, "ann@example.org")
    key = {"Idempotency-Key": "k"}
    answer = await api.send(http_headers=key)
    assert (answer.status, answer.json["status"]) == (202, "failed")
    assert answer.json["suppressed"] == ["ann@example.org"]
    assert (await api.send(http_headers=key)).json == answer.json
    shown = (await api.call("GET", f"/emails/{answer.json['id']}")).json
    assert (shown["status"], shown["status_reason"]) == ("failed", "all recipients suppressed")
    retried = await api.call("POST", f"/emails/{answer.json['id']}/retry")
    retried.problem(409, "conflict")
    await check_invariants(store)


async def test_email_that_ignores_suppressions_needs_the_scope_for_it(
    api: RunningApi, store: Store
) -> None:
    refused = (await api.send(ignore_suppressions=True)).problem(403, "insufficient-scope")
    assert "suppressions:ignore" in refused["detail"]
    token = await api.token_for("emails:send", "emails:read", "suppressions:ignore")
    await suppress(api, store, token, "ann@example.org")
    answer = await api.send(token, ignore_suppressions=True)
    assert (answer.status, answer.json["suppressed"]) == (202, [])
    assert (await api.send(ignore_suppressions=False)).status == 202
