"""Bytes that are no HTTP request, and connections that break off."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress

import pytest

from scripts.attack.bombs import compressed_request, gzip_bomb, many_members
from tests.api.http.raw_requests import (
    GET,
    POST,
    STRANGER,
    TOKENS,
    answers,
    check_log,
    connected,
    encoded,
    one_answer,
    raw,
)
from tests.support.api import EMAIL, RunningApi, StartApi
from tests.support.bombs import inflated
from tests.support.processes import PATIENCE


async def test_bytes_that_are_no_http_get_a_problem_too(api: RunningApi) -> None:
    for data in [
        b"nonsense\r\n\r\n",
        b"GET /emails HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET /emails HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n",
        b"GET /emails HTTP/1.1\r\nHost: a\r\nX-A: \x00\r\n\r\n",
        b"POST /emails HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST /emails HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ]:
        status, headers, body = await raw(api, data)
        assert (status, headers["content-type"]) == (400, "application/problem+json")
        problem = json.loads(body)
        assert problem["type"] == "urn:babygun:problem:malformed-request"
        assert problem["request_id"] == headers["x-request-id"]


async def test_bytes_that_are_not_utf8_end_in_a_problem(api: RunningApi) -> None:
    for data, status in [
        (b"GET /emails/\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /emails?limit=\xff HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\n\r\n", 400),
        (b"GET /emails?%ff%00=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\n\r\n", 422),
        (b"GET /emails HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \xff\xfe\r\n\r\n", 401),
        (
            b"GET /emails HTTP/1.1\r\nHost: a\r\nX-Request-Id: \xff\r\n"
            b"Authorization: Bearer TOKEN\r\n\r\n",
            200,
        ),
        (
            b"POST /emails HTTP/1.1\r\nHost: a\r\nIdempotency-Key: \xff\r\n"
            b"Authorization: Bearer TOKEN\r\nContent-Length: 0\r\n\r\n",
            422,
        ),
        (b"POST /emails HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\nContent-Length: 0\r\n\r\n", 417),
        (
            b"POST /emails HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\n"
            b"Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n"
            b"abcd",
            400,
        ),
        (
            b"POST /tokens HTTP/1.1\r\nHost: a\r\nContent-Type: \xff\r\n"
            b"Content-Length: 2\r\n\r\n{}",
            415,
        ),
    ]:
        got, headers, body = await raw(api, data.replace(b"TOKEN", api.token.encode()))
        assert got == status, body
        assert headers["x-request-id"]
        if status >= 400:
            assert headers["content-type"] == "application/problem+json"
            assert json.loads(body)["status"] == status


async def test_rubbish_behind_good_requests_is_answered_after_them(
    api: RunningApi, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        async with connected(api) as (reader, writer):
            writer.write((GET + b"\r\n") * 100 + b"\x00\xff" * 100)
            got = await answers(reader)
        # What came in one packet with the rubbish is not answered.
        assert {status for status, _ in got[:-1]} == {200} and len(got) > 32
        assert got[-1][0] == 400
        assert (
            got[-1][1]["detail"] == "The request does not begin with a method, a path and HTTP/1.1."
        )
    check_log(caplog)


@pytest.mark.parametrize(
    "data",
    [
        GET + b"X: " + b"a" * 10_000_000,
        GET + b"".join(b"X-%d: %b\r\n" % (n, b"a" * 8000) for n in range(1250)),
        b"GET /" + b"a" * 10_000_000,
        b"a" * 10_000_000,
    ],
    ids=["one header", "many headers", "path", "method"],
)
async def test_ten_megabytes_before_the_body_end_the_connection_early(
    api: RunningApi, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    with caplog.at_level(logging.INFO):
        async with connected(api) as (reader, writer):
            writer.write(data)
            try:
                async with asyncio.timeout(PATIENCE):
                    await reader.read()
            except ConnectionError:
                pass
        assert (await api.call("GET", "/healthz")).status == 200
    check_log(caplog)


async def test_headers_half_sent_and_left_are_no_line_in_the_log(
    api: RunningApi, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        async with connected(api) as (_, writer):
            writer.write(POST[:-5])
            await writer.drain()
        assert (await api.call("GET", "/healthz")).status == 200
    check_log(caplog, lines=0)


async def test_headers_that_do_not_come_end_the_connection(
    start_api: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babygun.api.http.serving.KEEPALIVE", 0.3)
    api = await start_api(ready=False)  # an idle connection of a client's would end as soon
    async with connected(api) as (reader, writer):
        writer.write(POST[:-5])
        with suppress(ConnectionError):  # they may come when it has ended already
            assert await answers(reader) == []


async def test_body_announced_as_too_large_is_refused_before_it_is_sent(
    start_api: StartApi,
) -> None:
    api = await start_api(max_request=10_000)
    (
        await api.call(
            "POST", "/emails", data=b"x" * 20_000, content_type="application/json", expect100=True
        )
    ).problem(413, "too-large", "body")
    assert (await api.call("POST", "/emails", json=EMAIL, expect100=True)).status == 202


async def test_body_is_not_asked_for_before_the_caller_is_known(api: RunningApi) -> None:
    async with connected(api) as (reader, writer):
        writer.write(STRANGER + b"Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 401 ") and b"Connection: close" in head


UNREAD = {
    "no token": STRANGER,
    "no such path": STRANGER.replace(b"/emails", b"/nothing"),
    "no such method": STRANGER.replace(b"POST", b"PUT"),
    "a probe": GET,
    "the page": GET.replace(b"/healthz", b"/"),
    "too large": TOKENS,
}


async def test_body_that_no_call_reads_is_not_inflated(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = inflated(monkeypatch)
    for head in UNREAD.values():
        status, _, _ = await raw(api, encoded(head, b"gzip", many_members(100)))
        assert status in (200, 401, 404, 405, 413)
        assert not begun


async def test_connection_whose_body_stays_unread_is_closed_after_its_answer(
    start_api: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babygun.api.http.server._LINGER", 0.2)
    api = await start_api()
    for head in UNREAD.values():
        async with connected(api) as (reader, writer):
            writer.write(head + b"Content-Length: 1000000\r\n\r\n{")
            async with asyncio.timeout(PATIENCE):
                answer = await reader.read()
            assert b"\r\nConnection: close\r\n" in answer


async def test_client_that_sends_a_large_body_without_a_token_gets_its_answer(
    api: RunningApi,
) -> None:
    async with connected(api) as (reader, writer):
        writer.write(STRANGER + b"Content-Length: 30000000\r\n\r\n")
        for _ in range(30):
            writer.write(bytes(1_000_000))
            await writer.drain()
        async with asyncio.timeout(PATIENCE):
            assert (await reader.read()).startswith(b"HTTP/1.1 401 ")


async def test_bombs_of_a_client_leave_the_loop_to_other_calls(api: RunningApi) -> None:
    bomb = compressed_request(gzip_bomb(64), token=api.token)
    bombs = [asyncio.create_task(one_answer(api, bomb)) for _ in range(8)]
    for _ in range(3):
        assert (await api.call("GET", "/healthz")).status == 200
    assert not all(task.done() for task in bombs), "the calls had their turns between"
    assert {status for status, _ in await asyncio.gather(*bombs)} <= {413, 503}


async def test_headers_that_are_long_together_are_refused_before_their_end(
    api: RunningApi,
) -> None:
    data = GET + b"".join(b"X-%d: %b\r\n" % (n, b"a" * 8000) for n in range(10))
    status, problem = await one_answer(api, data)
    assert (status, problem["type"]) == (431, "urn:babygun:problem:headers-too-large")
    assert problem["detail"] == "The headers have more than 65536 bytes."


async def test_client_that_leaves_short_answers_unread_is_cut_off(start_api: StartApi) -> None:
    api = await start_api(request_timeout=0.5)
    async with connected(api) as (_, writer):
        try:
            async with asyncio.timeout(PATIENCE):
                while True:  # the kernels hold some megabytes of answers
                    writer.write((GET.replace(b"/healthz", b"/openapi.json") + b"\r\n") * 10)
                    await writer.drain()
        except ConnectionError:
            pass
    assert (await api.call("GET", "/healthz")).status == 200
