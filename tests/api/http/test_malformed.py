"""What each kind of broken request is answered, in our words."""

from __future__ import annotations

import gzip
import logging
import zlib

import pytest

from scripts.attack.bombs import many_members
from tests.api.http.raw_requests import (
    CHUNKED,
    GET,
    GOOD,
    POST,
    STRANGER,
    TOKENS,
    check_log,
    encoded,
    one_answer,
)
from tests.support.api import RunningApi

BROKEN: list[tuple[str, tuple[bytes, ...], int, str]] = [
    (
        "no gzip",
        (encoded(POST, b"gzip", GOOD),),
        400,
        "The body is not gzip, as its Content-Encoding says.",
    ),
    (
        "no gzip, without a token",
        (encoded(TOKENS, b"gzip", GOOD),),
        400,
        "The body is not gzip, as its Content-Encoding says.",
    ),
    (
        "no gzip, in another packet",
        (encoded(POST, b"gzip", b"abcd")[:-4], b"abcd"),
        400,
        "The body is not gzip, as its Content-Encoding says.",
    ),
    ("no gzip, from a stranger", (encoded(STRANGER, b"gzip", b"abcd"),), 401, ""),
    (
        "no gzip, to nothing",
        (encoded(STRANGER.replace(b"/emails", b"/nothing"), b"gzip", b"abcd")[:-4], b"abcd"),
        404,
        "",
    ),
    ("no gzip, where none is read", (encoded(GET, b"gzip", b"abcd"),), 200, ""),
    (
        "no deflate",
        (encoded(POST, b"deflate", GOOD),),
        400,
        "The body is not deflate, as its Content-Encoding says.",
    ),
    (
        "deflate cut off",
        (encoded(POST, b"deflate", zlib.compress(GOOD)[:-6]),),
        400,
        "The body is not deflate, as its Content-Encoding says.",
    ),
    (
        "gzip cut off",
        (encoded(POST, b"gzip", gzip.compress(GOOD)[:-12]),),
        400,
        "The body is not gzip, as its Content-Encoding says.",
    ),
    (
        "more than gzip",
        (encoded(POST, b"gzip", gzip.compress(GOOD) + b"junk"),),
        400,
        "The body is not gzip, as its Content-Encoding says.",
    ),
    (
        "gzip twice",
        (encoded(POST, b"gzip, gzip", gzip.compress(gzip.compress(GOOD))),),
        415,
        "The body's Content-Encoding can be gzip or deflate; or leave it out.",
    ),
    (
        "two headers of encodings",
        (encoded(POST + b"Content-Encoding: gzip\r\n", b"gzip", gzip.compress(GOOD)),),
        415,
        "The body's Content-Encoding can be gzip or deflate; or leave it out.",
    ),
    (
        "gzip that swells",
        (encoded(POST, b"gzip", many_members(50)),),
        413,
        "The body is larger than this server takes (setting max_request).",
    ),
    (
        "brotli",
        (encoded(POST, b"br", GOOD),),
        415,
        "The body's Content-Encoding can be gzip or deflate; or leave it out.",
    ),
    (
        "zstd",
        (encoded(POST, b"zstd", GOOD),),
        415,
        "The body's Content-Encoding can be gzip or deflate; or leave it out.",
    ),
    (
        "an encoding of no name",
        (encoded(POST, b"foo", GOOD),),
        415,
        "The body's Content-Encoding can be gzip or deflate; or leave it out.",
    ),
    (
        "rubbish for a chunk",
        (POST + CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",),
        400,
        "The body is not chunked as its Transfer-Encoding says.",
    ),
    (
        "rubbish after a chunk",
        (POST + CHUNKED, b"2\r\n{}\r\nzz\r\n"),
        400,
        "The body is not chunked as its Transfer-Encoding says.",
    ),
    (
        "a chunk of negative size",
        (POST + CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",),
        400,
        "The body is not chunked as its Transfer-Encoding says.",
    ),
    ("no host", (b"GET /healthz HTTP/1.1\r\n\r\n",), 400, "A request has one Host header."),
    (
        "two lengths",
        (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",),
        400,
        "The Content-Length is no number, or does not stand alone.",
    ),
    (
        "a target that is no path",
        (b"GET http://[::/healthz HTTP/1.1\r\nHost: a\r\n\r\n",),
        400,
        "The request's target is not a path.",
    ),
    (
        "TLS",
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",),
        400,
        "This port speaks plain HTTP, and was called with TLS.",
    ),
    (
        "HTTP/2",
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",),
        400,
        "Speak HTTP/1.1; HTTP/2 is not spoken here.",
    ),
    (
        "a long path",
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",),
        414,
        "Path and query have more than 8190 bytes.",
    ),
    (
        "a long query",
        (b"GET /emails?tag=" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",),
        414,
        "Path and query have more than 8190 bytes.",
    ),
    (
        "a long header",
        (GET + b"X: " + b"a" * 9000 + b"\r\n\r\n",),
        431,
        "A header has more than 8192 bytes.",
    ),
    (
        "many headers",
        (GET + b"".join(b"X-%d: a\r\n" % n for n in range(300)) + b"\r\n",),
        431,
        "There are more than 128 headers.",
    ),
]


async def test_request_that_is_broken_is_answered_in_our_words(
    api: RunningApi, caplog: pytest.LogCaptureFixture
) -> None:
    for name, parts, status, detail in BROKEN:
        caplog.clear()
        with caplog.at_level(logging.INFO):
            got, document = await one_answer(api, *parts)
            assert got == status, (name, document)
            if detail:
                assert (document["status"], document["detail"]) == (status, detail), name
            assert (await one_answer(api, GET + b"\r\n"))[0] == 200
        check_log(caplog)
