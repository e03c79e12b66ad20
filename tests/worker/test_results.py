"""What DNS says of a domain, as the results of a try."""

from __future__ import annotations

import pytest

from babygun.email.model import Recipient
from babygun.email.retry import Schedule
from babygun.routing.mx import LookupFailed, NoMailHost
from babygun.smtp.classifier import Classifier
from babygun.smtp.replies import Phase, Reply, parse_reply
from babygun.worker.results import LOOK_AGAIN, Sent, without_host

NO_SUCH_NAME = NoMailHost("gone.example is not in DNS", code=556, enhanced="5.1.2")
SCHEDULE = Schedule((600.0, 600.0))


def to(reply_class: str | None = None) -> Recipient:
    return Recipient("ann@gone.example", "to", "mx:gone.example", reply_class=reply_class)


def test_name_that_is_not_in_dns_is_looked_up_once_more_before_it_bounces() -> None:
    [first] = without_host(NO_SUCH_NAME, [to()], SCHEDULE).values()
    assert (first.action, first.reply_class, first.retry_after) == (
        "retry",
        "bad_domain",
        LOOK_AGAIN,
    )
    [second] = without_host(NO_SUCH_NAME, [to(first.reply_class)], SCHEDULE).values()
    assert (second.action, second.status_code, second.enhanced_code, second.reason) == (
        "fail",
        556,
        "5.1.2",
        "gone.example is not in DNS",
    )


@pytest.mark.parametrize(("first_wait", "look"), [(10.0, 30.0), (300.0, 900.0), (3600.0, 900.0)])
def test_second_look_comes_after_three_of_the_routes_first_waits_or_a_quarter_of_an_hour(
    first_wait: float, look: float
) -> None:
    [first] = without_host(NO_SUCH_NAME, [to()], Schedule((first_wait, 7200.0))).values()
    assert first.retry_after == look


def test_null_mx_bounces_at_once() -> None:
    text = "x.example takes no mail: it has a null MX"
    error = NoMailHost(text, code=556, enhanced="5.1.10", for_sure=True)
    [result] = without_host(error, [to()], SCHEDULE).values()
    assert (result.action, result.reply_class, result.enhanced_code) == (
        "fail",
        "bad_domain",
        "5.1.10",
    )


def test_dns_without_an_answer_is_a_soft_failure_however_often() -> None:
    error = LookupFailed("DNS has no answer about x.example: SERVFAIL")
    for before in (None, "dns", "bad_domain"):
        [result] = without_host(error, [to(before)], SCHEDULE).values()
        assert (result.action, result.reply_class, result.retry_after) == ("retry", "dns", None)


@pytest.mark.parametrize(("holds", "action"), [(True, "hold"), (False, "retry")])
def test_refused_session_holds_a_relay_and_no_site_of_mail_hosts(holds: bool, action: str) -> None:
    reply = Reply("greeting", 554, "5.7.1", "Go away")
    found = Classifier.load().classify(reply, route="relay" if holds else "mx")
    sent = Sent({})
    sent.add("ann@x.example", reply, found, "mx.x.example[192.0.2.1]:25", holds=holds)
    assert sent.results["ann@x.example"].action == action
    assert sent.results["ann@x.example"].reason == "Go away (mx.x.example[192.0.2.1]:25)"
    assert sent.fault is not None and sent.fault.holds == holds and not sent.answered


@pytest.mark.parametrize(
    ("phase", "text", "action"),
    [
        ("greeting", "521 5.3.2 x.example takes no mail", "fail"),
        ("tls", "502 5.5.1 STARTTLS not implemented", "retry"),
    ],
)
def test_word_about_a_domain_is_an_answer_that_ends_its_sites_hold(
    phase: Phase, text: str, action: str
) -> None:
    reply = parse_reply(text, phase)
    sent = Sent({})
    found = Classifier.load().classify(reply, route="mx")
    sent.add("ann@x.example", reply, found, "", holds=False)
    assert sent.results["ann@x.example"].action == action
    assert sent.answered and sent.fault is None
