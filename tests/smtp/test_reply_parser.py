"""Replies put together from pieces: the same for every cut, and short memory for long ones."""

from __future__ import annotations

import hypothesis
from hypothesis import strategies as st

from babygun.smtp.reply_parser import (
    CACHED,
    MAX_LINE,
    MAX_REPLY,
    TEXT_MAX,
    ReplyParser,
    ServerReply,
)


def test_parser_gives_the_same_for_every_cut() -> None:
    data = b"250-a\r\n250-\r\n250 b\r\n550 no\r\n354\r\n221-x\n221 y\n"
    whole = ReplyParser().feed(data)
    assert whole == [
        ServerReply(250, b"a\n\nb"),
        ServerReply(550, b"no"),
        ServerReply(354, b""),
        ServerReply(221, b"x\ny"),
    ]
    for first in range(len(data)):
        for second in range(first, len(data)):
            parser = ReplyParser()
            got = [
                *parser.feed(data[:first]),
                *parser.feed(data[first:second]),
                *parser.feed(data[second:]),
            ]
            assert got == whole


def test_parser_takes_a_last_line_that_it_knows_as_a_reply_for_a_last_line() -> None:
    assert ReplyParser().feed(b"250 ok\r\n250-first\r\n250 ok\r\n250 ok\r\n") == [
        ServerReply(250, b"ok"),
        ServerReply(250, b"first\nok"),
        ServerReply(250, b"ok"),
    ]


def test_parser_keeps_little_of_a_long_reply() -> None:
    parser = ReplyParser()
    line = b"250-" + b"x" * 4000 + b"\r\n"
    for _ in range(MAX_REPLY // len(line)):
        assert parser.feed(line) == []
    assert sum(map(len, parser._lines)) < 4 * TEXT_MAX + MAX_LINE
    assert not parser.violation
    assert parser.feed(line) == []
    assert parser.violation


def test_parser_refuses_a_line_that_does_not_end_early() -> None:
    parser = ReplyParser()
    for _ in range(MAX_LINE // 100):
        parser.feed(b"2" * 100)
    assert not parser.violation
    for _ in range(3):
        assert parser.feed(b"2" * 100) == []
    assert parser.violation
    assert parser._rest == b""


def test_parser_gives_what_came_before_rubbish_and_nothing_after() -> None:
    parser = ReplyParser()
    assert (
        parser.feed(b"250 ok\r\n250 ok\r\nrubbish\r\n250 ok\r\n") == [ServerReply(250, b"ok")] * 2
    )
    assert parser.violation


# What servers write, and what breaks it: lines, parts of lines, any bytes.
_LINES = st.sampled_from(
    [
        b"250 ok\r\n",
        b"250-more\r\n",
        b"550-no\r\n",
        b"550 5.1.1 no\r\n",
        b"354\r\n",
        b"421 x\n",
        b"25",
    ]
)
_TEXT = st.binary(max_size=40).map(lambda text: b"250-" + text.replace(b"\n", b"") + b"\r\n")
_STREAMS = st.lists(_LINES | _TEXT | st.binary(max_size=20), max_size=30).map(b"".join)


@hypothesis.given(stream=_STREAMS, cuts=st.lists(st.integers(0, 400), max_size=12))
@hypothesis.settings(max_examples=150, deadline=None, database=None, derandomize=True)
def test_parser_reads_any_bytes_the_same_in_any_pieces(stream: bytes, cuts: list[int]) -> None:
    whole, pieces = ReplyParser(), ReplyParser()
    expected = whole.feed(stream)
    ends = sorted({*(cut for cut in cuts if cut < len(stream)), len(stream)})
    got = [
        reply
        for start, end in zip([0, *ends], ends, strict=False)
        for reply in pieces.feed(stream[start:end])
    ]
    assert (got, pieces.violation) == (expected, whole.violation)
    assert all(200 <= reply.code < 600 for reply in got)
    assert len(pieces._rest) <= len(stream)


@hypothesis.given(piece=st.binary(min_size=1, max_size=2000) | _TEXT | _LINES)
@hypothesis.settings(max_examples=60, deadline=None, database=None, derandomize=True)
def test_parser_keeps_bounded_memory_whatever_comes_again_and_again(piece: bytes) -> None:
    parser, pieces = ReplyParser(), piece * (1 + 2000 // len(piece))
    for _ in range(2 * MAX_REPLY // len(pieces)):
        parser.feed(pieces)
        kept = len(parser._rest) + sum(map(len, parser._lines))
        assert kept <= MAX_LINE + 4 * TEXT_MAX + MAX_LINE
        assert len(parser._cache) <= CACHED
