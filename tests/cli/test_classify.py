"""``babygun classify``. It needs nothing else, so it runs in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from babygun.cli.main import main
from tests.support.commands import Result

Classify = Callable[..., Result]


@pytest.fixture
def classify(capsys: pytest.CaptureFixture[str]) -> Classify:
    """The command with these words."""

    def run(*words: str) -> Result:
        return Result(main(["classify", *words]), *capsys.readouterr())

    return run


def test_classify_prints_class_action_and_rule(classify: Classify) -> None:
    result = classify("552 5.2.2 Mailbox full")
    assert result.out.split()[:4] == ["class", "mailbox_full", "action", "retry"]
    without = classify("--no-reply", "connection reset by peer")
    assert without.out.split()[:4] == ["class", "network", "action", "retry"]


@pytest.mark.parametrize(
    ("phase", "reply", "lines"),
    [
        (
            "greeting",
            "554 no",
            [
                "class     session_refused",
                "action    retry",
                "rule      session_refused",
                "about     session: each e-mail meets it; the site is held, no try is used up",
                "alarm     an operator should look",
            ],
        ),
        (
            "greeting",
            "421 Too many connections",
            [
                "class     rate_limit",
                "action    retry",
                "rule      connection_limit",
                "about     connections: fewer are opened, no try is used up",
            ],
        ),
        (
            "mail",
            "552 5.3.4 Message too big",
            [
                "class     too_large",
                "action    fail",
                "rule      too_large",
                "about     message: this message, for example its size",
            ],
        ),
        (
            "data",
            "503 need RCPT",
            [
                "class     protocol",
                "action    retry",
                "rule      bad_sequence",
                "again     at once, on a new connection; the same reply then means: retry",
            ],
        ),
    ],
)
def test_classify_shows_what_the_delivery_does_with_a_reply_of_a_phase(
    classify: Classify, phase: str, reply: str, lines: list[str]
) -> None:
    assert classify("--phase", phase, reply).out.splitlines() == lines


def test_classify_by_route_says_what_a_domains_own_host_means(classify: Classify) -> None:
    words = ("--phase", "greeting", "521 5.3.2 example.org does not accept mail")
    assert "session_refused" in classify(*words).out
    assert classify(*words, "--route", "mx").out.splitlines() == [
        "class     bad_domain",
        "action    fail",
        "rule      no_mail_here",
        "about     domain: the recipient's",
    ]


def test_classify_of_a_reply_to_connecting_names_the_phases_that_have_one(
    classify: Classify,
) -> None:
    result = classify("--phase", "connect", "554 no")
    assert result.status == 2 and "--phase greeting, ehlo, tls or auth" in result.error


@pytest.mark.parametrize(
    "words",
    [
        ("rubbish",),
        ("",),
        ("99 bottles",),
        ("650 5.1.1 no",),
        ("5501 no",),
        ("--no-reply", "550 no"),
        ("--no-reply", " "),
    ],
)
def test_classify_of_what_is_no_reply_is_refused_with_a_sentence(
    classify: Classify, words: tuple[str, ...]
) -> None:
    result = classify(*words)
    assert result.status == 2 and not result.out
    assert result.error.startswith("babygun: ") and "--no-reply" in result.error
    assert len(result.error.splitlines()) == 1
