"""Signatures, verified by the official package of Standard Webhooks."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from babygun.store.webhooks.records import WebhookSecret
from babygun.webhooks.signature import sign, signing_keys

NOW = datetime(2026, 11, 29, tzinfo=UTC)
BODY = '{"type":"delivered","data":{"subject":"Grüße"}}'.encode()


def secret(byte: int) -> str:
    return "whsec_" + base64.b64encode(bytes([byte]) * 32).decode()


def headers(keys: tuple[bytes, ...], event_id: str = "e-0001-delivered") -> dict[str, str]:
    now = int(time.time())
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(now),
        "webhook-signature": sign(keys, event_id, now, BODY).decode(),
    }


def test_signature_is_verified_by_the_official_package() -> None:
    keys = signing_keys(WebhookSecret(secret(1)), NOW)
    assert Webhook(secret(1)).verify(BODY, headers(keys))["type"] == "delivered"
    with pytest.raises(WebhookVerificationError):
        Webhook(secret(2)).verify(BODY, headers(keys))
    with pytest.raises(WebhookVerificationError):
        Webhook(secret(1)).verify(BODY + b" ", headers(keys))


def test_signature_is_that_of_the_official_package() -> None:
    at = datetime.fromtimestamp(1_700_000_000, UTC)
    wanted = Webhook(secret(1)).sign("e-0001-delivered", at, BODY.decode())
    keys = signing_keys(WebhookSecret(secret(1)), NOW)
    assert sign(keys, "e-0001-delivered", 1_700_000_000, BODY).decode() == wanted


def test_secret_before_the_present_one_signs_too_until_its_end() -> None:
    rotated = WebhookSecret(secret(2), secret(1), NOW + timedelta(hours=24))
    both = headers(signing_keys(rotated, NOW))
    for each in (1, 2):
        Webhook(secret(each)).verify(BODY, both)
    after = headers(signing_keys(rotated, NOW + timedelta(hours=24)))
    Webhook(secret(2)).verify(BODY, after)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret(1)).verify(BODY, after)


@pytest.mark.parametrize("text", ["whsec_!!!", "whsec_a", "whsec_ä"])
def test_secret_that_is_not_base64_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        signing_keys(WebhookSecret(text), NOW)


@pytest.mark.parametrize("length", [24, 31, 32, 64])
def test_secret_of_any_length_signs_also_without_padding(length: int) -> None:
    padded = "whsec_" + base64.b64encode(b"x" * length).decode()
    keys = signing_keys(WebhookSecret(padded.rstrip("=")), NOW)
    Webhook(padded).verify(BODY, headers(keys))
