"""Every row of the bad-input list: its status, its problem and the field that it names; and nothing is left in etcd."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from babygun.api.routes import ROUTES
from babygun.store import Store
from babygun.store.keys import range_end
from tests.api.conftest import EMAIL, RunningApi, StartApi, fields_of

JSON = {"Content-Type": "application/json"}

BODIES: list[tuple[str, bytes, int, str, str | None]] = [
    ("no body", b"", 400, "malformed-json", None),
    ("cut off", b'{"sender": "a@example.com", "to"', 400, "malformed-json", None),
    ("not UTF-8", b'{"sender": "\xff@example.com"}', 400, "malformed-json", None),
    (
        "lone surrogate",
        b'{"sender": "a@example.com", "to": "b@example.com", "body": "\\ud800"}',
        400,
        "malformed-json",
        None,
    ),
    ("raw NUL", b'{"sender": "a\x00"}', 400, "malformed-json", None),
    (
        "something after it",
        b'{"sender": "a@example.com", "to": "b@example.com"} x',
        400,
        "malformed-json",
        None,
    ),
    ("a list", b"[]", 422, "invalid-request", "body"),
    ("null", b"null", 422, "invalid-request", "body"),
    (
        "deep nesting",
        b'{"sender": "a@example.com", "metadata": {"a": ' + b"[" * 100_000,
        422,
        "invalid-request",
        "metadata",
    ),
]


@pytest.mark.parametrize(
    ("body", "status", "slug", "field"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES]
)
async def test_body_that_is_no_object_is_refused(
    api: RunningApi, body: bytes, status: int, slug: str, field: str | None
) -> None:
    (await api.call("POST", "/emails", data=body, headers=JSON)).problem(status, slug, field)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


TAKEN_HEADERS = """From To cc BCC Sender Reply-To Subject MIME-Version Content-Type Content-Transfer-Encoding
    Received Return-Path DKIM-Signature Resent-To ARC-Seal Authentication-Results Delivered-To""".split()  # noqa: SIM905

FILE = {"filename": "a.txt", "content": b64(b"hi")}
RULES: list[tuple[str, dict[str, Any], str]] = [
    # wrong types
    ("sender is a number", {"sender": 1}, "sender"),
    ("to has a number", {"to": ["a@example.org", 2]}, "to[1]"),
    ("to is an object", {"to": {"email": "a@example.org"}}, "to"),
    ("subject is a list", {"subject": ["a"]}, "subject"),
    ("metadata is no text", {"metadata": {"a": 1}}, "metadata"),
    ("headers is a number", {"headers": 1}, "headers"),
    (
        "kind is unknown",
        {"recipients": [{"email": "a@example.org", "kind": "from"}]},
        "recipients[0].kind",
    ),
    ("recipient without email", {"recipients": [{"kind": "to"}]}, "recipients[0].email"),
    (
        "attachment is not base64",
        {"attachments": [FILE, {"filename": "b", "content": "*"}]},
        "attachments[1].content",
    ),
    (
        "base64 without padding",
        {"attachments": [{"filename": "b", "content": "YQ"}]},
        "attachments[0].content",
    ),
    ("send_at without offset", {"send_at": "2030-01-01T00:00:00"}, "send_at"),
    ("send_at is no time", {"send_at": "tomorrow"}, "send_at"),
    ("send_at is a number", {"send_at": 1893456000}, "send_at"),
    # unknown fields
    ("unknown field", {"attachements": []}, "attachements"),
    (
        "unknown field of a recipient",
        {"recipients": [{"email": "a@example.org", "name": "A"}]},
        "recipients[0].name",
    ),
    (
        "unknown field of an attachment",
        {"attachments": [FILE | {"path": "/tmp"}]},
        "attachments[0].path",
    ),
    # recipients
    ("no sender", {"sender": None}, "sender"),
    ("no recipient", {"to": None}, "to"),
    ("no recipient in lists", {"to": [], "cc": [], "recipients": []}, "to"),
    ("1,001 recipients", {"to": [f"a{n}@example.org" for n in range(1001)]}, "to"),
    (
        "1,001 in all",
        {
            "to": [f"a{n}@example.org" for n in range(999)],
            "cc": "c@example.org",
            "recipients": [{"email": "r@example.org"}],
        },
        "recipients",
    ),
    ("10,001 addresses", {"cc": ["a@example.org"] * 10_001}, "cc"),
    # addresses
    ("sender is no address", {"sender": "shop"}, "sender"),
    ("sender is empty", {"sender": ""}, "sender"),
    ("to is empty", {"to": ""}, "to"),
    ("two addresses in one", {"to": "a@example.org, b@example.org"}, "to"),
    ("one of many is wrong", {"to": ["a@example.org", "b@@example.org"]}, "to[1]"),
    ("cc is wrong", {"cc": "nobody"}, "cc"),
    ("bcc is wrong", {"bcc": ["x@"]}, "bcc[0]"),
    ("recipient is wrong", {"recipients": [{"email": "@example.org"}]}, "recipients[0].email"),
    ("reply_to is wrong", {"reply_to": "help"}, "reply_to"),
    ("address with a line break", {"to": "a@example.org\r\nBcc: b@example.org"}, "to"),
    ("name with a line break", {"sender": "A\r\nBcc: b@example.org <a@example.org>"}, "sender"),
    # headers
    ("header with CR and LF", {"headers": {"X-A": "a\r\nBcc: b@example.org"}}, "headers.X-A"),
    ("header with LF", {"headers": ["X-A: a\nb"]}, "headers[0]"),
    ("header with CR", {"headers": {"X-A": "a\rb"}}, "headers.X-A"),
    ("header with a Unicode line break", {"headers": {"X-A": "a\u2028b"}}, "headers.X-A"),
    ("header with NEL", {"headers": {"X-A": "a\u0085b"}}, "headers.X-A"),
    ("header with NUL", {"headers": {"X-A": "a\u0000b"}}, "headers.X-A"),
    ("header's name with a space", {"headers": {"X A": "a"}}, "headers.X A"),
    ("header's name with a colon", {"headers": {"X:A": "a"}}, "headers.X:A"),
    ("header's name not ASCII", {"headers": {"X-Ä": "a"}}, "headers.X-Ä"),
    ("header's name empty", {"headers": {"": "a"}}, "headers."),
    ("header's name too long", {"headers": {"X-" + "a" * 75: "a"}}, "headers.X-" + "a" * 75),
    ("line without a colon", {"headers": ["X-A a"]}, "headers[0]"),
    ("header too long", {"headers": {"X-A": "a" * 1000}}, "headers.X-A"),
    ("101 headers", {"headers": {f"X-{n}": "a" for n in range(101)}}, "headers"),
    ("Message-ID twice", {"headers": ["Message-ID: <a@b>", "message-id: <c@d>"]}, "headers[1]"),
    ("Message-ID of no form", {"headers": {"Message-ID": "a"}}, "headers.Message-ID"),
    *((f"header {name}", {"headers": {name: "x"}}, f"headers.{name}") for name in TAKEN_HEADERS),
    # texts
    ("subject with a line break", {"subject": "a\r\nBcc: b@example.org"}, "subject"),
    ("subject with a Unicode line break", {"subject": "a\u2029b"}, "subject"),
    ("subject with NUL", {"subject": "a\u0000"}, "subject"),
    ("subject too long", {"subject": "a" * 2001}, "subject"),
    ("body with NUL", {"body": "a\u0000"}, "body"),
    ("html with NUL", {"html": "a\u0000"}, "html"),
    # attachments
    (
        "filename with a path",
        {"attachments": [FILE | {"filename": "../a"}]},
        "attachments[0].filename",
    ),
    (
        "filename with a backslash",
        {"attachments": [FILE | {"filename": "c:\\a"}]},
        "attachments[0].filename",
    ),
    (
        "filename with a line break",
        {"attachments": [FILE | {"filename": "a\nb"}]},
        "attachments[0].filename",
    ),
    ("filename empty", {"attachments": [FILE | {"filename": ""}]}, "attachments[0].filename"),
    (
        "filename too long",
        {"attachments": [FILE | {"filename": "a" * 256}]},
        "attachments[0].filename",
    ),
    (
        "media type of no form",
        {"attachments": [FILE | {"content_type": "text"}]},
        "attachments[0].content_type",
    ),
    (
        "media type with a line break",
        {"attachments": [FILE | {"content_type": "text/plain;\r\n a=b"}]},
        "attachments[0].content_type",
    ),
    (
        "media type multipart",
        {"attachments": [FILE | {"content_type": "multipart/mixed"}]},
        "attachments[0].content_type",
    ),
    (
        "content id with a bracket",
        {"attachments": [FILE | {"content_id": "<a>"}]},
        "attachments[0].content_id",
    ),
    # the rest
    ("send_at too far ahead", {"send_at": "2999-01-01T00:00:00Z"}, "send_at"),
    ("11 tags", {"tags": [str(n) for n in range(11)]}, "tags"),
    ("tag with a space", {"tags": ["a", "b c"]}, "tags[1]"),
    ("tag empty", {"tags": [""]}, "tags[0]"),
    ("tag too long", {"tags": ["a" * 65]}, "tags[0]"),
    ("51 metadata", {"metadata": {str(n): "" for n in range(51)}}, "metadata"),
]


@pytest.mark.parametrize(
    ("changes", "field"), [row[1:] for row in RULES], ids=[row[0] for row in RULES]
)
async def test_email_that_breaks_a_rule_is_refused(
    api: RunningApi, store: Store, changes: dict[str, Any], field: str
) -> None:
    (await api.send(**changes)).problem(422, "invalid-request", field)
    assert await emails_in(store) == 0


async def emails_in(store: Store) -> int:
    keys = store.keys
    return sum(
        [
            (await store.client.range(prefix, range_end(prefix))).count
            for prefix in (keys.emails, keys.contents, keys.logs, keys.jobs, keys.idempotencies)
        ]
    )


async def test_one_address_given_1001_times_is_one_recipient(api: RunningApi) -> None:
    answer = await api.send(to=["ann@example.org"] * 1001, cc="Ann <ann@EXAMPLE.org>")
    assert (answer.status, answer.json["recipients"]) == (202, 1), answer.text


@pytest.mark.parametrize(
    ("changes", "field", "detail"),
    [
        (
            {"recipients": [{"email": "a@example.org", "kind": "from"}]},
            "recipients[0].kind",
            "It must be one of bcc, cc, to.",
        ),
        ({"to": 1}, "to", "It must be a text or a list or null, and is a whole number."),
        ({"attachments": {}}, "attachments", "It must be a list or null, and is an object."),
    ],
)
async def test_value_of_a_wrong_kind_is_told_what_it_may_be(
    api: RunningApi, changes: dict[str, Any], field: str, detail: str
) -> None:
    assert (await api.send(**changes)).problem(422, "invalid-request", field)["detail"] == detail


async def test_scope_that_does_not_exist_is_told_those_that_do(api: RunningApi) -> None:
    answer = await api.call(
        "POST",
        "/tokens",
        token="",
        json={"client_id": "a", "client_secret": "b", "scopes": ["mail"]},
    )
    assert "emails:send" in answer.problem(422, "invalid-request", "scopes[0]")["detail"]


@pytest.mark.parametrize(
    ("body", "words"),
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
        (b'{"sender": "\xff"}', "bytes that are not UTF-8"),
    ],
)
async def test_text_that_is_none_is_told_from_a_body_cut_off(
    api: RunningApi, body: bytes, words: str
) -> None:
    assert (
        words
        in (await api.call("POST", "/emails", data=body, headers=JSON)).problem(
            400, "malformed-json"
        )["detail"]
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [(route.method, route.path.replace("{id}", "x").replace("{n}", "0")) for route in ROUTES],
)
async def test_parameter_that_no_call_has_is_refused(
    api: RunningApi, method: str, path: str
) -> None:
    (await api.call(method, f"{path}?page=2", token=await api.token_for("admin"))).problem(
        422, "invalid-request", "page"
    )


async def test_email_that_breaks_several_rules_is_told_all_of_them(api: RunningApi) -> None:
    problem = (
        await api.send(sender="x", to=["a@example.org", "y"], subject="\n", tags=["!"])
    ).problem(422, "invalid-request", "sender")
    assert fields_of(problem) == ["sender", "to[1]", "subject", "tags[0]"]


async def test_many_broken_rules_are_listed_up_to_a_limit(api: RunningApi) -> None:
    problem = (await api.send(to=[f"x{n}" for n in range(1000)])).problem(
        422, "invalid-request", "to[0]"
    )
    assert len(problem["errors"]) == 50


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


async def test_headers_of_more_than_64_kib_are_refused_as_too_large(api: RunningApi) -> None:
    (await api.send(headers={f"X-{n}": "a" * 900 for n in range(80)})).problem(
        413, "too-large", "headers"
    )


async def test_body_of_unknown_length_over_the_limit_is_refused(start_api: StartApi) -> None:
    api = await start_api(max_request=10_000)

    async def chunks() -> Any:
        for _ in range(3):
            yield b"x" * 5000

    (await api.call("POST", "/emails", data=chunks(), headers=JSON)).problem(
        413, "too-large", "body"
    )


async def test_body_announced_as_too_large_is_refused_before_it_is_sent(
    start_api: StartApi,
) -> None:
    api = await start_api(max_request=10_000)
    (await api.call("POST", "/emails", data=b"x" * 20_000, headers=JSON, expect100=True)).problem(
        413, "too-large", "body"
    )
    assert (await api.call("POST", "/emails", json=EMAIL, expect100=True)).status == 202


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"]
)
async def test_body_of_another_media_type_is_refused(api: RunningApi, media_type: str) -> None:
    answer = await api.call(
        "POST", "/emails", data=json.dumps(EMAIL).encode(), headers={"Content-Type": media_type}
    )
    answer.problem(415, "unsupported-media-type", "Content-Type")


@pytest.mark.parametrize(
    "media_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"]
)
async def test_json_is_taken_however_it_is_written(api: RunningApi, media_type: str) -> None:
    assert (
        await api.call(
            "POST", "/emails", data=json.dumps(EMAIL).encode(), headers={"Content-Type": media_type}
        )
    ).status == 202


@pytest.mark.parametrize("key", ["", "a" * 256, "schlüssel"])
async def test_idempotency_key_of_no_form_is_refused(api: RunningApi, key: str) -> None:
    (await api.send(http_headers={"Idempotency-Key": key})).problem(
        422, "invalid-request", "Idempotency-Key"
    )


async def test_recipient_that_no_relay_takes_is_refused(start_api: StartApi) -> None:
    api = await start_api(
        relay_url="", relays={"inner": {"url": "smtp://127.0.0.1:2525", "domains": ["example.org"]}}
    )
    problem = (await api.send(to=["a@example.org", "b@example.net"])).problem(
        422, "invalid-request", "to[1]"
    )
    assert "example.net" in problem["detail"]


async def test_email_without_any_relay_configured_is_refused(
    start_api: StartApi, api: RunningApi
) -> None:
    bare = await start_api(ready=False, relay_url="")
    (await bare.call("GET", "/readyz", token="")).problem(503, "not-ready")
    answer = await bare.send(api.token)
    answer.problem(503, "no-relay")
    assert answer.headers["Retry-After"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("limit=", "limit"),
        ("cursor=x", "cursor"),
        ("status=sent", "status"),
        ("page=2", "page"),
        ("tag=a&tag=b", "tag"),
    ],
)
async def test_listing_with_a_bad_parameter_is_refused(
    api: RunningApi, query: str, field: str
) -> None:
    (await api.call("GET", f"/emails?{query}")).problem(422, "invalid-request", field)
