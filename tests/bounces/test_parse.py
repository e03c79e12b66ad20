"""Messages that come back: each form of the corpus, cut off, reordered and as rubbish."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babygun.bounces.parse import read
from babygun.bounces.reading import MOST_FAILURES
from babygun.bounces.verdict import bounce_of
from babygun.smtp.classifier import Classifier
from tests.support.paths import ROOT

FOLDER = ROOT / "tests/data/bounces"
VERDICTS: dict[str, dict[str, Any]] = tomllib.loads((FOLDER / "verdicts.toml").read_text("utf-8"))
MESSAGES = {path.stem: path.read_bytes() for path in sorted(FOLDER.glob("*.eml"))}
CLASSIFIER = Classifier.load()


def test_corpus_has_a_verdict_for_each_message() -> None:
    assert set(VERDICTS) == set(MESSAGES)


@pytest.mark.parametrize("lines", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("name", MESSAGES)
def test_message_of_the_corpus_is_read_as_its_verdict_says(name: str, lines: bytes) -> None:
    wanted = VERDICTS[name]
    found = read(MESSAGES[name].replace(b"\n", lines))
    assert (found.kind, found.shape) == (wanted["kind"], wanted["shape"])
    bounces = [bounce_of(each, found.reporter, CLASSIFIER) for each in found.failures]
    seen = [
        [
            list(bounce.addresses),
            bounce.status_code or 0,
            bounce.enhanced_code or "",
            bounce.reply_class,
            bounce.suppress,
        ]
        for bounce in bounces
    ]
    expected = wanted.get("failures", [])
    assert seen == [[*row[:3], *row[4:]] for row in expected]
    for bounce, row in zip(bounces, expected, strict=True):
        assert row[3] in (bounce.reason or "")
    complaint = found.complaint
    assert (complaint and [*complaint[:2], list(complaint.addresses)]) == wanted.get("complaint")


@pytest.mark.parametrize("name", MESSAGES)
def test_message_cut_off_anywhere_is_read_without_an_error(name: str) -> None:
    message = MESSAGES[name]
    for end in range(0, len(message), 97):
        read(message[:end])


@given(st.sampled_from(sorted(MESSAGES)), st.data())
def test_message_with_changed_bytes_is_read_without_an_error(name: str, data: Any) -> None:
    message = bytearray(MESSAGES[name])
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(message) - 1))
        message[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=40))
        if not message:
            break
    found = read(bytes(message))
    for each in found.failures:
        bounce_of(each, found.reporter, CLASSIFIER)


@given(st.binary(max_size=2000))
def test_rubbish_is_read_without_an_error(message: bytes) -> None:
    assert read(message).kind in ("unknown", "auto_reply")


def report(blocks: str) -> bytes:
    return (
        "Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n"
        f"\nReporting-MTA: dns; mail.example\n\n{blocks}\n--b--\n"
    ).encode()


@pytest.mark.parametrize("action", ["delayed", "relayed", "delivered", "expanded", "Delayed"])
def test_report_of_no_failure_is_no_bounce_whatever_its_status(action: str) -> None:
    found = read(report(f"Final-Recipient: rfc822; a@example.org\nAction: {action}\nStatus: 5.0.0"))
    assert found.kind == ("delayed" if action.lower() == "delayed" else "relayed")
    assert not found.failures


def test_report_of_more_recipients_than_an_email_has_is_cut() -> None:
    block = "Final-Recipient: rfc822; a@example.org\nAction: failed\nStatus: 5.1.1\n\n"
    assert len(read(report(block * (MOST_FAILURES + 100))).failures) <= MOST_FAILURES


def test_report_in_a_message_that_a_message_encloses_is_not_read() -> None:
    """A forwarded bounce message is about another e-mail."""
    inner = MESSAGES["postfix-user-unknown"].decode()
    outer = (
        "From: ann@rcpt.example\nSubject: Fwd: strange\n"
        "Content-Type: multipart/mixed; boundary=outer\n\n--outer\nContent-Type: text/plain\n\n"
        f"Look at this.\n\n--outer\nContent-Type: message/rfc822\n\n{inner}\n--outer--\n"
    )
    assert read(outer.encode()).kind == "unknown"


def test_message_of_parts_within_parts_is_read_in_bounded_time() -> None:
    deep = b"".join(
        b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (n, n) for n in range(9000)
    )
    assert read(deep).kind == "unknown"
    wide = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\nX: y\n\n\n" * 40_000
    assert read(wide).kind == "unknown"


@pytest.mark.parametrize(
    "text",
    ["<" * 60_000, "a@" * 30_000, "550 " * 15_000, "<a" * 30_000, "-" * 60_000, ":" * 60_000],
)
def test_text_that_makes_patterns_search_is_read_in_bounded_time(text: str) -> None:
    for kind in ("plain", "html"):
        head = f"From: postmaster@example.org\nContent-Type: text/{kind}\n\n"
        read((head + text).encode())
