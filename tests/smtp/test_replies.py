"""Replies as they are read: codes, enhanced codes and text."""

from __future__ import annotations

import random

import pytest

from babygun.smtp.replies import PHASES, Reply, make_reply, parse_reply


def test_parse_reply_any_text_gives_a_reply():
    rng = random.Random(0)
    for _ in range(1500):
        text = "".join(rng.choices("2345 -.\r\n\x0b\x00#ab@ä", k=rng.randint(0, 40)))
        phase = rng.choice(PHASES)
        assert parse_reply(text, phase).phase == phase


def test_parse_reply_single_line_splits_codes_from_text():
    assert parse_reply("550 5.1.1 User unknown") == Reply("rcpt", 550, "5.1.1", "User unknown")


def test_parse_reply_several_lines_joins_them():
    text = "550-5.1.1 The account\r\n550-5.1.1 does not\r\n550 5.1.1 exist"
    assert parse_reply(text, "data") == Reply("data", 550, "5.1.1", "The account does not exist")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("250", Reply("rcpt", 250, None, "")),
        ("250 OK", Reply("rcpt", 250, None, "OK")),
        ("550 5.1.1", Reply("rcpt", 550, "5.1.1", "")),
        ("  550 5.1.1: no", Reply("rcpt", 550, "5.1.1", "no")),
        ("550 #5.1.0 Address rejected.", Reply("rcpt", 550, "5.1.0", "Address rejected.")),
        ("554 5.7.1.2 odd", Reply("rcpt", 554, None, "5.7.1.2 odd")),
        ("550 10.0.0.1 is listed", Reply("rcpt", 550, None, "10.0.0.1 is listed")),
        ("5501 no code", Reply("rcpt", None, None, "5501 no code")),
        ("Connection reset by peer", Reply("rcpt", None, None, "Connection reset by peer")),
        ("", Reply("rcpt", None, None, "")),
    ],
)
def test_parse_reply_odd_forms(text, expected):
    assert parse_reply(text) == expected


def test_make_reply_control_characters_become_spaces():
    assert make_reply("rcpt", 550, "5.1.1 no\x1b[31m such\tuser") == Reply(
        "rcpt", 550, "5.1.1", "no [31m such user"
    )
