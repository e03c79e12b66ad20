"""Bodies that are compressed, cut off, late, too large or no JSON."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import struct
import zlib
from typing import Any

import pytest

from tests.api.http.raw_requests import (
    CHUNKED,
    GOOD,
    POST,
    TOKENS,
    check_log,
    connected,
    encoded,
    one_answer,
    until_logged,
    until_read,
)
from tests.support.api import EMAIL, RunningApi, StartApi


@pytest.mark.parametrize(
    "data",
    [
        POST + b"Content-Length: 500\r\n\r\n{",
        TOKENS + b"Content-Length: 500\r\n\r\n{",
        POST + CHUNKED + b"5\r\n{}",
        encoded(POST, b"gzip", gzip.compress(GOOD))[:-20],
    ],
    ids=["announced", "without a token", "chunked", "compressed"],
)
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_body_cut_off_is_one_line_in_the_log(
    api: RunningApi, caplog: pytest.LogCaptureFixture, data: bytes, how: str
) -> None:
    with caplog.at_level(logging.INFO):
        async with connected(api) as (_, writer):
            writer.write(data.replace(b"TOKEN", api.token.encode()))
            await writer.drain()
            await until_read(api)
            if how == "reset":
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                writer.transport.abort()
        assert (await until_logged(caplog, "request"))["status"] == 400
        assert (await api.call("GET", "/healthz")).status == 200
    check_log(caplog)


async def test_body_that_is_compressed_as_it_says_is_taken(api: RunningApi) -> None:
    for encoding in ["gzip", "X-GZip", "deflate", "identity"]:
        pack = {"deflate": zlib.compress, "identity": bytes}.get(encoding, gzip.compress)
        body = pack(GOOD[:20]) + pack(GOOD[20:]) if encoding == "gzip" else pack(GOOD)
        assert (await one_answer(api, encoded(POST, encoding.encode(), body)))[0] == 202


@pytest.mark.parametrize(
    "data",
    [POST + b"Content-Length: 500\r\n\r\n{", TOKENS + CHUNKED + b"2\r\n{}\r\n"],
    ids=["announced", "chunked"],
)
async def test_body_that_does_not_come_is_given_up(
    start_api: StartApi, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    api = await start_api(request_timeout=0.3)
    with caplog.at_level(logging.INFO):
        status, document = await one_answer(api, data)
        assert (status, document["type"], document["field"]) == (
            408,
            "urn:babygun:problem:request-timeout",
            "body",
        )
        assert "0.3 s" in document["detail"]
    check_log(caplog)


async def test_body_for_a_token_is_a_small_one(api: RunningApi) -> None:
    answer = await api.call(
        "POST", "/tokens", token="", data=b"x" * 5000, content_type="application/json"
    )
    assert "4096" in answer.problem(413, "too-large", "body")["detail"]


async def test_body_of_unknown_length_over_the_limit_is_refused(start_api: StartApi) -> None:
    api = await start_api(max_request=10_000)

    async def chunks() -> Any:
        for _ in range(3):
            yield b"x" * 5000

    (await api.call("POST", "/emails", data=chunks(), content_type="application/json")).problem(
        413, "too-large", "body"
    )


async def test_only_json_is_taken_however_its_type_is_written(api: RunningApi) -> None:
    async def send(media_type: str) -> Any:
        headers = {"Content-Type": media_type}
        return await api.call("POST", "/emails", data=json.dumps(EMAIL).encode(), headers=headers)

    for other in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp"):
        (await send(other)).problem(415, "unsupported-media-type", "Content-Type")
    for good in ("application/json", "application/json; charset=utf-8", "Application/JSON"):
        assert (await send(good)).status == 202
