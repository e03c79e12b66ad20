"""Signs requests as the Standard Webhooks convention says (standardwebhooks.com). Pure.

A receiver verifies ``webhook-signature`` with the webhook's secret. It is HMAC-SHA256 over
``<webhook-id>.<webhook-timestamp>.<body>``.
"""

from __future__ import annotations

import binascii
import hmac
from collections.abc import Sequence
from datetime import datetime

from babygun.store.webhooks.records import WebhookSecret

_PREFIX = "whsec_"


def signing_keys(secret: WebhookSecret, now: datetime) -> tuple[bytes, ...]:
    """The keys that sign now: that of the secret, and of the one before it until its end.

    Raises ValueError if a secret is not ``whsec_`` and Base64.
    """
    secrets = [secret.secret]
    if secret.previous and (secret.previous_until is None or now < secret.previous_until):
        secrets.append(secret.previous)
    return tuple(map(_key, secrets))


def sign(keys: Sequence[bytes], event_id: str, timestamp: int, body: bytes) -> bytes:
    """The value of ``webhook-signature``: one signature per key, separated by spaces.

    ``timestamp``: seconds since the epoch, as in ``webhook-timestamp``.
    """
    signed = b"%b.%d.%b" % (event_id.encode(), timestamp, body)
    return b" ".join(
        b"v1," + binascii.b2a_base64(hmac.digest(key, signed, "sha256"), newline=False)
        for key in keys
    )


def _key(secret: str) -> bytes:
    text = secret.removeprefix(_PREFIX)
    return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
