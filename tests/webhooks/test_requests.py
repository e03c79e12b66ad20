"""The requests to a webhook, as bytes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook

from babygun.store.webhooks.change import new_secret
from babygun.store.webhooks.records import WebhookSecret
from babygun.webhooks.endpoint import Unreachable
from babygun.webhooks.requests import Requests


def taken_apart(request: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    first, *fields = head.decode().split("\r\n")
    return first, dict(field.split(": ", 1) for field in fields), body


def test_request_has_what_http_and_standard_webhooks_want() -> None:
    secret, body, now = new_secret(), '{"a": "é"}'.encode(), datetime.now(UTC)
    requests = Requests("https://a.example:8443/x?y=1", WebhookSecret(secret), allow_http=False)
    first, fields, sent = taken_apart(requests.make("e-0001-delivered", body, now))
    assert first == "POST /x?y=1 HTTP/1.1" and sent == body
    assert fields["Host"] == "a.example:8443" and int(fields["Content-Length"]) == len(body)
    assert fields["webhook-id"] == "e-0001-delivered"
    Webhook(secret).verify(sent, fields)


def test_secret_before_the_present_one_stops_to_sign_though_nothing_else_changes() -> None:
    now = datetime.now(UTC)
    secret = WebhookSecret(new_secret(), new_secret(), now + timedelta(minutes=5))
    requests = Requests("https://a.example/", secret, allow_http=False)
    counts = [
        len(
            taken_apart(requests.make("e", b"{}", now + timedelta(minutes=minutes)))[1][
                "webhook-signature"
            ].split(" ")
        )
        for minutes in (0, 4, 7)
    ]
    assert counts == [2, 2, 1]


def test_url_without_tls_has_no_requests_unless_a_setting_says_so() -> None:
    secret = WebhookSecret(new_secret())
    with pytest.raises(Unreachable, match="webhook_allow_http"):
        Requests("http://a.example/", secret, allow_http=False)
    assert not Requests("http://a.example/", secret, allow_http=True).endpoint.tls
