"""Reasons in words: what they say, and how long they get."""

from __future__ import annotations

import pytest

from babygun.email.reasons import cut, quoted_to_others
from babygun.email.tries import RecipientResult
from babygun.store.codec import encode_state
from tests.email.steps import HARD, SOFT, email, finish


def test_status_reason_counts_and_names_the_causes() -> None:
    reason = finish(email(a=3), "a", SOFT, HARD, HARD).email.status_reason
    assert (
        reason == "3 of 3 recipients not reached yet: "
        "2 bounced (bad_mailbox), 1 deferred after try 1 of 3 (temporary)"
    )


def test_reasons_of_many_recipients_fit_one_etcd_request() -> None:
    before = email(a=1000)
    long = RecipientResult("fail", "rejected", 550, "5.0.0", "ü" * 5000)
    transition = finish(before, "a", *[long] * 1000)
    assert len(encode_state(transition.email)) + len(encode_state(transition.entry)) < 1_000_000


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [("abc", 3, "abc"), ("abcdef", 5, "ab…"), ("üüü", 5, "ü…"), ("a\x00\ud800\nb", 9, "a   b")],
)
def test_cut_keeps_whole_characters(text: str, limit: int, expected: str) -> None:
    assert cut(text, limit) == expected


@pytest.mark.parametrize(
    ("said", "quoted"),
    [
        ("450 <bob@a.example>: try later", "450 <…>: try later"),
        ("mail from=ann@b.example to=bob@a.example, slow down", "mail from=… to=…, slow down"),
        ("421 too many connections from 192.0.2.1", "421 too many connections from 192.0.2.1"),
        (None, None),
    ],
)
def test_words_that_are_quoted_to_others_name_no_addresses(
    said: str | None, quoted: str | None
) -> None:
    assert quoted_to_others(said, 512) == quoted
