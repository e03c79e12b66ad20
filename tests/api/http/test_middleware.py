"""What surrounds every call: request ids, paths and methods that do not exist, requests that are no HTTP, the page."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from babygun.api.app import ROUTES
from babygun.store import Store
from tests.api.conftest import RunningApi, basic


async def test_request_id_of_the_caller_is_kept_and_logged(
    api: RunningApi, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "babygun.api"):
        answer = await api.call("GET", "/emails", headers={"X-Request-Id": "my-request:1.2_3"})
    assert answer.headers["X-Request-Id"] == "my-request:1.2_3"
    lines = [record.fields for record in caplog.records if record.message == "request"]  # type: ignore[attr-defined]
    assert len(lines) == 1
    assert lines[0]["ms"] >= 0
    assert {name: lines[0][name] for name in ("method", "path", "status", "request_id")} == {
        "method": "GET",
        "path": "/emails",
        "status": 200,
        "request_id": "my-request:1.2_3",
    }
    assert lines[0]["client_id"]


async def test_lines_of_a_call_name_its_request_client_and_email(
    api: RunningApi, caplog: pytest.LogCaptureFixture
) -> None:
    client, secret = await api.client()
    with caplog.at_level(logging.DEBUG, "babygun"):
        tokens = await api.call("POST", "/tokens", token="", headers=basic(client.id, secret))
        sent = await api.send(tokens.json["token"], http_headers={"Idempotency-Key": "k"})
        again = await api.send(tokens.json["token"], http_headers={"Idempotency-Key": "k"})
        shown = await api.call("GET", f"/emails/{sent.json['id']}", token=tokens.json["token"])
        missing = await api.call("GET", "/emails/ann@example.org", token=tokens.json["token"])
        nobody = await api.call("GET", f"/emails/{sent.json['id']}", token="")
    email_id = sent.json["id"]
    expected = [
        (tokens, client.id, None),
        (sent, client.id, email_id),
        (again, client.id, email_id),
        (shown, client.id, email_id),
        (missing, client.id, None),
        (nobody, None, email_id),
    ]
    lines = [record.fields for record in caplog.records if record.name == "babygun.api"]  # type: ignore[attr-defined]
    assert [
        (line["request_id"], line.get("client_id"), line.get("email_id")) for line in lines
    ] == [(a.headers["X-Request-Id"], client, email) for a, client, email in expected]


async def test_line_of_a_call_that_fails_on_our_side_names_them_too(
    api: RunningApi, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    email_id = await api.accepted()
    await store.client.put(store.keys.email(email_id), b"no JSON")
    with caplog.at_level(logging.INFO, "babygun"):
        answer = await api.call("GET", f"/emails/{email_id}")
    answer.problem(500, "internal")
    lines = [
        (record.message, record.fields) for record in caplog.records if record.name == "babygun.api"
    ]  # type: ignore[attr-defined]
    assert [event for event, _ in lines] == ["request failed", "request"]
    for _, line in lines:
        assert (line["request_id"], line["email_id"]) == (answer.headers["X-Request-Id"], email_id)
        assert line["client_id"]


async def test_reads_that_succeed_are_logged_for_debugging_only(
    api: RunningApi, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "babygun.api"):
        email_id = (await api.send()).json["id"]
        await api.call("GET", f"/emails/{email_id}")
        await api.call("HEAD", "/emails")
        await api.call("GET", "/emails/none")
    lines = [record.fields for record in caplog.records if record.message == "request"]  # type: ignore[attr-defined]
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [
        ("POST", "/emails", 202),
        ("GET", "/emails/none", 404),
    ]


@pytest.mark.parametrize("given", ["", "a b", "a" * 65, "<script>", "ä"])
async def test_request_id_of_no_sane_form_is_replaced(api: RunningApi, given: str) -> None:
    answer = await api.call("GET", "/healthz", headers={"X-Request-Id": given})
    assert answer.headers["X-Request-Id"] not in ("", given)


async def test_accepted_email_carries_the_request_id_into_its_log(api: RunningApi) -> None:
    answer = await api.send(http_headers={"X-Request-Id": "r-1"})
    log = (await api.call("GET", f"/emails/{answer.json['id']}/log")).json
    assert log["entries"][0]["request_id"] == "r-1"


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/emails/", "/emails/a/b", "/page/../page.js", "/page/none", "/%FF%00", "//"],
)
async def test_path_that_does_not_exist_is_not_found(api: RunningApi, path: str) -> None:
    (await api.call("GET", path)).problem(404, "not-found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/emails"),
        ("DELETE", "/emails/x"),
        ("GET", "/emails/x/cancel"),
        ("POST", "/"),
        ("PATCH", "/tokens"),
        ("TRACE", "/emails"),
    ],
)
async def test_method_that_a_path_lacks_is_not_allowed(
    api: RunningApi, method: str, path: str
) -> None:
    answer = await api.call(method, path)
    answer.problem(405, "method-not-allowed")
    assert "OPTIONS" in answer.headers["Allow"]


async def test_options_and_head_work_on_every_path(api: RunningApi) -> None:
    for route in ROUTES:
        answer = await api.call("OPTIONS", route.path.replace("{id}", "x").replace("{n}", "0"))
        assert answer.status == 204
        assert route.method in answer.headers["Allow"]
    for path in ("/emails", "/healthz", "/", "/openapi.json"):
        answer = await api.call("HEAD", path)
        assert (answer.status, answer.text) == (200, "")


async def test_probes_answer_without_a_token(api: RunningApi) -> None:
    assert (await api.call("GET", "/healthz", token="")).json["status"] == "ok"
    ready = await api.call("GET", "/readyz", token="")
    assert (ready.status, ready.json["status"]) == (200, "ready")


async def raw(api: RunningApi, data: bytes) -> tuple[int, dict[str, str], bytes]:
    """What comes back for these very bytes."""
    host, port = api.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        body = await reader.readexactly(int(headers["content-length"]))
    writer.close()
    await writer.wait_closed()
    return int(lines[0].split()[1]), headers, body


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET /emails HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET /emails HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n",
        b"GET /emails HTTP/1.1\r\nHost: a\r\nX-A: \x00\r\n\r\n",
        b"POST /emails HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST /emails HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
async def test_bytes_that_are_no_http_get_a_problem_too(api: RunningApi, data: bytes) -> None:
    status, headers, body = await raw(api, data)
    assert (status, headers["content-type"]) == (400, "application/problem+json")
    problem = json.loads(body)
    assert problem["type"] == "urn:babygun:problem:malformed-request"
    assert problem["request_id"] == headers["x-request-id"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /emails/\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /emails?limit=\xff HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\n\r\n", 400),
        (b"GET /emails?%ff%00=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\n\r\n", 422),
        (b"GET /emails HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \xff\xfe\r\n\r\n", 401),
        (
            b"GET /emails HTTP/1.1\r\nHost: a\r\nX-Request-Id: \xff\r\nAuthorization: Bearer TOKEN\r\n\r\n",
            200,
        ),
        (
            b"POST /emails HTTP/1.1\r\nHost: a\r\nIdempotency-Key: \xff\r\nAuthorization: Bearer TOKEN\r\nContent-Length: 0\r\n\r\n",
            422,
        ),
        (b"POST /emails HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\nContent-Length: 0\r\n\r\n", 417),
        (
            b"POST /emails HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
            400,
        ),
        (
            b"POST /tokens HTTP/1.1\r\nHost: a\r\nContent-Type: \xff\r\nContent-Length: 2\r\n\r\n{}",
            415,
        ),
    ],
)
async def test_bytes_that_are_not_utf8_end_in_a_problem(
    api: RunningApi, data: bytes, status: int
) -> None:
    got, headers, body = await raw(api, data.replace(b"TOKEN", api.token.encode()))
    assert got == status, body
    assert headers["x-request-id"]
    if status >= 400:
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(body)["status"] == status
