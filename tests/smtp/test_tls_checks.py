"""How TLS failed, in the words of reports."""

from __future__ import annotations

import ssl

import aiosmtplib
import pytest

from babygun.pki.dane import NotNamed
from babygun.routing.tls_policy import TlsPolicy
from babygun.smtp.tls_checks import PLAIN, demand_of, result_of, violation_of


def refused(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    return error


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (refused(9), "certificate-expired"),
        (refused(10), "certificate-expired"),
        (refused(18), "certificate-not-trusted"),
        (refused(20), "certificate-not-trusted"),
        (refused(62), "certificate-host-mismatch"),
        (NotNamed("x"), "certificate-not-trusted"),
        (NotNamed("x", "dates"), "certificate-expired"),
        (NotNamed("x", "names"), "certificate-host-mismatch"),
        (aiosmtplib.SMTPNotSupported("no STARTTLS"), "starttls-not-supported"),
        (aiosmtplib.SMTPResponseException(454, "not now"), "starttls-not-supported"),
        (ssl.SSLError(1, "wrong version number"), "validation-failure"),
        (TimeoutError(), "validation-failure"),
    ],
)
def test_error_has_its_name_in_reports(error: BaseException, failure: str) -> None:
    assert violation_of([error], "words") == (failure, "words")
    assert violation_of([OSError(), error], "words")[0] in (failure, "validation-failure")


def test_certificate_is_looked_for_in_all_that_led_to_an_error() -> None:
    assert violation_of([OSError(), refused(10)], "x").result_type == "certificate-expired"


def test_plain_text_under_a_policy_that_only_tests_names_the_policy() -> None:
    testing = TlsPolicy("sts", testing=True)
    assert demand_of(testing) == "sts_testing"
    assert result_of(None, testing, None).policy == "sts_testing"
    assert result_of(None, TlsPolicy(), None) is PLAIN
