"""What connections got of TLS, as metrics and logs have it."""

from __future__ import annotations

import logging

import pytest

from babygun.email.model import TlsResult
from babygun.routing.destination import to_relay
from babygun.routing.server import Server
from babygun.runtime.metrics import TLS_SESSIONS
from babygun.smtp.tls_checks import PLAIN, TlsSession
from babygun.worker.tls_sessions import count_session

SERVER = Server("mx.example.org", 25, "192.0.2.7")


@pytest.mark.parametrize(
    ("result", "got", "logged"),
    [
        (PLAIN, "plain", False),
        (TlsResult(version="1.3"), "encrypted", False),
        (TlsResult(version="1.2", verified="pkix"), "verified", False),
        (TlsResult("dane", "1.3", verified="dane_ee"), "verified", False),
        (TlsResult(failure="validation-failure"), "plain", False),
        (TlsResult(failure="starttls-not-supported", connected=False), "failed", False),
        (TlsResult("sts", failure="certificate-expired", connected=False), "failed", True),
        (TlsResult("sts_testing", "1.3", failure="certificate-expired"), "encrypted", True),
        (TlsResult("sts_testing", failure="starttls-not-supported"), "plain", True),
    ],
)
def test_session_is_counted_by_what_it_got_and_violations_are_logged(
    caplog: pytest.LogCaptureFixture, result: TlsResult, got: str, logged: bool
) -> None:
    destination = to_relay("counted", SERVER)
    counted = TLS_SESSIONS["counted", result.policy, got]
    before = counted._value
    with caplog.at_level(logging.WARNING, "babygun"):
        count_session(destination, TlsSession(SERVER, result, "the words"))
    assert counted._value == before + 1
    assert [each.message for each in caplog.records] == ["tls policy violated"] * logged
    for record in caplog.records:
        fields = record.fields  # type: ignore[attr-defined]
        assert (fields["queue"], fields["policy"], fields["failure"], fields["reason"]) == (
            "counted",
            result.policy,
            result.failure,
            "the words",
        )
        assert fields["server"] == "mx.example.org[192.0.2.7]:25"
