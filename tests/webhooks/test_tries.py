"""What a try of a notice comes to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from babygun.store.webhooks.notices import StoredNotice
from babygun.store.webhooks.records import Notice
from babygun.webhooks.answers import Answer
from babygun.webhooks.tries import Judged, given_up, judge, retry_after

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
STORED = StoredNotice(b"key", 7, "e-0001-delivered", b"value")
INTERVALS = (5.0, 60.0)


def notice(tries: int = 0) -> Notice:
    return Notice(msgspec.Raw(b"{}"), NOW, tries)


def judged(status: int, *, retry: str = "", body: bytes = b"", tries: int = 0) -> Judged:
    answer = Answer(status, retry, body, True)
    return judge(STORED, notice(tries), answer, "", now=NOW, intervals=INTERVALS)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_try_that_is_answered_2xx_is_sent(status: int) -> None:
    found = judged(status, body=b"thanks")
    after = found.outcome.notice
    assert found.success and found.outcome.due is None and after.state == "sent"
    assert after.tries == 1 and after.last is not None
    assert (after.last.status_code, after.last.answer, after.last.at) == (status, "thanks", NOW)


@pytest.mark.parametrize("status", [301, 302, 308, 400, 401, 404, 409, 429, 500, 503])
def test_try_that_is_answered_otherwise_waits_for_the_next(status: int) -> None:
    found = judged(status)
    assert not found.success and not found.gone
    assert found.outcome.due == NOW + timedelta(seconds=5)
    assert found.outcome.notice.state == "waiting" and found.outcome.notice.tries == 1


def test_try_without_an_answer_waits_and_says_why() -> None:
    found = judge(STORED, notice(1), None, "no answer within 15 s", now=NOW, intervals=INTERVALS)
    after = found.outcome.notice
    assert found.outcome.due == NOW + timedelta(seconds=60)
    assert after.last is not None and after.last.error == "no answer within 15 s"


def test_try_that_was_the_last_has_failed() -> None:
    after = judged(500, tries=2).outcome
    assert after.due is None and after.notice.state == "failed" and after.notice.tries == 3


def test_try_that_is_answered_gone_ends_the_webhook_and_waits_for_that() -> None:
    found = judged(410)
    assert found.gone and not found.success
    assert found.outcome.due == NOW + timedelta(seconds=5)
    assert judged(410, tries=2).outcome.due is None


def test_retry_after_lengthens_the_wait_and_pauses_a_busy_endpoint() -> None:
    assert judged(429, retry="120").outcome.due == NOW + timedelta(seconds=120)
    assert judged(429, retry="120").pause == 120
    assert judged(429, retry="1").outcome.due == NOW + timedelta(seconds=5)
    assert judged(500, retry="120").pause == 0
    assert judged(503, retry="99999999").pause == 3600


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("99999999999999999999", 86400),
        ("Sun, 29 Nov 2026 12:01:00 GMT", 60),
        ("Sun, 29 Nov 2026 11:00:00 GMT", 0),
        ("Sun, 29 Nov 2026 12:01:00", 60),
        ("soon", 0),
        ("-5", 0),
        ("", 0),
        ("²", 0),
        ("Sun, 29 Nov 99999999999999999999 12:01:00 GMT", 0),
        ("Sun, 99999999999999999999 Nov 2026 12:01:00 GMT", 0),
        ("Sun, 29 Nov 2026 12:01:00 +99999999", 0),
    ],
)
def test_retry_after_is_a_number_or_a_date(text: str, seconds: float) -> None:
    assert retry_after(text, NOW) == seconds


def test_answer_is_kept_up_to_its_first_bytes_as_text() -> None:
    after = judged(200, body=b"\xff" + b"x" * 1000).outcome.notice
    assert after.last is not None and after.last.answer == "�" + "x" * 511


def test_notice_that_is_given_up_says_why_and_keeps_its_last_result() -> None:
    waiting = judged(500, body=b"no").outcome.notice
    after = given_up(STORED, waiting, "the webhook is disabled", NOW)
    assert after.due is None and after.notice.state == "failed" and after.notice.tries == 1
    assert after.notice.last is not None
    assert (after.notice.last.status_code, after.notice.last.answer) == (500, "no")
    assert after.notice.last.error == "the webhook is disabled"
