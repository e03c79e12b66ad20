"""Replies as reports quote them."""

from __future__ import annotations

import pytest

from babygun.bounces.quoted import Quoted, quoted_reply


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("550 5.1.1 User unknown", Quoted(550, "5.1.1", "User unknown")),
        ("550-5.1.1 No such\n550 5.1.1 user", Quoted(550, "5.1.1", "No such user")),
        ("550 #5.1.0 Address rejected.", Quoted(550, "5.1.0", "Address rejected.")),
        ("552-full\n552 now", Quoted(552, "", "full 552 now")),
        ("554: delivery error", Quoted(554, "", "delivery error")),
        (
            "host mx.example.org[192.0.2.250] said: 550 5.7.1 No (in reply to RCPT TO command)",
            Quoted(550, "5.7.1", "No (in reply to RCPT TO command)"),
        ),
        (
            "SMTP error from remote mail server after RCPT TO:<a@b.example>: 550 No such person",
            Quoted(550, "", "No such person"),
        ),
        ("Remote host said: 451 4.3.2 Later", Quoted(451, "4.3.2", "Later")),
        (
            "Sorry, no mailbox here. (#5.1.1)",
            Quoted(None, "5.1.1", "Sorry, no mailbox here. (#5.1.1)"),
        ),
        ("250 2.0.0 OK", Quoted(None, "", "OK")),
        ("connect to mx.example.org[192.0.2.55]:25: timed out", None),
        ("lost connection after 550 seconds", Quoted(550, "", "seconds")),
        ("Unrouteable address", None),
        ("192.0.2.250 does not answer", None),
        ("", None),
    ],
)
def test_quoted_reply_is_found_where_it_stands(text: str, reply: Quoted | None) -> None:
    assert quoted_reply(text) == (reply or Quoted(None, "", text))
