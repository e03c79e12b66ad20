"""Replies put together from pieces: the same for every cut, and short memory for long ones."""

from __future__ import annotations

from babygun.smtp.reply_parser import MAX_LINE, MAX_REPLY, TEXT_MAX, ReplyParser, ServerReply


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
