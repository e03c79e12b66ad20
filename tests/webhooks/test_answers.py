"""Answers of webhooks: complete ones, in pieces of any size, and rubbish."""

from __future__ import annotations

import random

import pytest

from babygun.webhooks.answers import MOST_BODY, Answer, AnswerReader, BadAnswer

OK = b"HTTP/1.1 200 OK\r\n"


def read(*pieces: bytes) -> Answer | None:
    reader = AnswerReader()
    answer = None
    for piece in pieces:
        assert answer is None, "it was complete before"
        answer = reader.feed(piece)
    return answer


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (OK + b"Content-Length: 2\r\n\r\nok", Answer(200, "", b"ok", True)),
        (OK + b"content-length:0\r\n\r\n", Answer(200, "", b"", True)),
        (b"HTTP/1.1 204\r\n\r\n", Answer(204, "", b"", True)),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n", Answer(204, "", b"", True)),
        (
            b"HTTP/1.1 503 x\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n",
            Answer(503, "60", b"", True),
        ),
        (
            OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nok",
            Answer(200, "", b"ok", False),
        ),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", Answer(200, "", b"ok", False)),
        (
            OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3;x=y\r\nyes\r\n0\r\n\r\n",
            Answer(200, "", b"okyes", True),
        ),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", Answer(200, "", b"ok", True)),
        (
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            Answer(200, "", b"ok", True),
        ),
    ],
)
def test_answer_is_read_whole_and_in_pieces(data: bytes, wanted: Answer) -> None:
    assert read(data) == wanted
    assert read(*(data[i : i + 1] for i in range(len(data)))) == wanted


def test_answer_without_a_length_ends_with_the_connection() -> None:
    reader = AnswerReader()
    assert reader.feed(OK + b"\r\nall of it") is None
    assert reader.end() == Answer(200, "", b"all of it", False)


def test_end_before_the_whole_answer_is_no_answer() -> None:
    reader = AnswerReader()
    assert not reader.began
    assert reader.feed(OK + b"Content-Length: 3\r\n\r\nok") is None
    assert reader.began and reader.end() is None


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 100000000\r\n\r\n",
        b"\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nFFFFFFF\r\n",
    ],
)
def test_answer_is_read_up_to_its_limit(head: bytes) -> None:
    answer = read(OK + head + b"x" * (MOST_BODY + 10))
    assert answer is not None and len(answer.body) == MOST_BODY and not answer.again


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 99 x\r\n\r\n",
        b"HTTP/1.1 2000 x\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 9999999999999999\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 20000,
        b"x" * 20000,
    ],
)
def test_rubbish_is_no_answer(data: bytes) -> None:
    with pytest.raises(BadAnswer):
        read(data)


def test_bytes_after_the_answer_end_the_connection() -> None:
    answer = read(OK + b"Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n")
    assert answer == Answer(200, "", b"ok", False)


def test_any_bytes_are_an_answer_or_not_but_crash_nothing() -> None:
    chance = random.Random(7)
    parts = [OK, b"\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"3\r\nabc"]
    for _ in range(3000):
        data = b"".join(
            chance.choice(parts) if chance.random() < 0.8 else chance.randbytes(3)
            for _ in range(chance.randint(1, 10))
        )
        reader = AnswerReader()
        try:
            for at in range(0, len(data), 7):
                if reader.feed(data[at : at + 7]) is not None:
                    break
            else:
                reader.end()
        except BadAnswer:
            pass


def test_endless_tiny_chunks_are_an_answer_whose_end_nobody_waits_for() -> None:
    reader = AnswerReader()
    assert reader.feed(OK + b"Transfer-Encoding: chunked\r\n\r\n") is None
    answer, chunks = None, 0
    while answer is None and chunks < MOST_BODY:
        answer, chunks = reader.feed(b"1\r\nx\r\n" * 100), chunks + 100
    assert answer is not None and answer.status == 200 and not answer.again
    assert chunks * 3 <= MOST_BODY + 300, "what stands between the chunks counts, too"
