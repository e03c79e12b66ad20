"""The requests to a webhook, as bytes (RFC 9112). Pure.

The body is the event as it is stored: it is not encoded again.
"""

from __future__ import annotations

from datetime import datetime

from babygun import __version__
from babygun.store.webhooks.records import WebhookSecret
from babygun.webhooks.endpoint import parse_endpoint
from babygun.webhooks.signature import sign, signing_keys

_KEYS_FOR = 60.0  # s, for which it is known which keys sign


class Requests:
    """Makes the requests to one webhook. Raises Unreachable if none may be sent there."""

    def __init__(self, url: str, secret: WebhookSecret, *, allow_http: bool) -> None:
        self.endpoint = parse_endpoint(url, allow_http=allow_http)
        self._secret, self._until = secret, 0.0
        self._keys: tuple[bytes, ...] = ()
        self._head = (
            f"POST {self.endpoint.target} HTTP/1.1\r\nHost: {self.endpoint.authority}\r\n"
            f"User-Agent: babygun/{__version__}\r\nContent-Type: application/json\r\n"
        ).encode()

    def make(self, event_id: str, body: bytes, now: datetime) -> bytes:
        """Raises ValueError if the secret can't sign."""
        timestamp = int(now.timestamp())
        if timestamp >= self._until:
            self._keys, self._until = signing_keys(self._secret, now), timestamp + _KEYS_FOR
        return (
            b"%bContent-Length: %d\r\nwebhook-id: %b\r\nwebhook-timestamp: %d\r\n"
            b"webhook-signature: %b\r\n\r\n%b"
        ) % (
            self._head,
            len(body),
            event_id.encode(),
            timestamp,
            sign(self._keys, event_id, timestamp, body),
            body,
        )
