"""Runs the receivers of docs/webhooks.md, as they stand there.

What they get is signed by the official library, whose own receiver is one of them.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace
from standardwebhooks import Webhook

from babygun.api.webhooks.event_examples import examples
from babygun.email.model import as_json
from tests.support.webhook_receivers import RECEIVERS, receiving

SECRET, BEFORE = ("whsec_" + letter * 43 + "=" for letter in ("A", "B"))


def test_page_has_receivers_with_and_without_a_library() -> None:
    assert set(RECEIVERS) == {"receiver.py", "receiver_alone.py", "receiver.mjs"}


def signed(event_id: str, body: bytes, *secrets: str, ago: float = 0) -> dict[str, str]:
    """The headers of a request."""
    at = datetime.fromtimestamp(int(time.time() - ago), UTC)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(
            Webhook(secret).sign(event_id, at, body.decode()) for secret in secrets
        ),
        "Content-Type": "application/json",
    }


@pytest.mark.parametrize("name", sorted(RECEIVERS))
async def test_receiver_of_the_page_takes_our_events_and_refuses_others(
    name: str, tmp_path: Path
) -> None:
    async with receiving(name, tmp_path, SECRET) as receiver:
        events = dict(examples())
        test = events["test"]
        # In several pieces, with characters that are cut in two.
        events["test"] = replace(test, data=replace(test.data, message="ü€" * 100_000))
        for type, event in events.items():
            body, event_id = as_json(event), event.data.event_id
            for secrets in ((SECRET,), (SECRET, BEFORE), (BEFORE, SECRET)):
                assert await receiver.post(body, signed(event_id, body, *secrets)) == 204
                assert await receiver.line() == [type, event_id]
            forged = body.replace(b'"2026', b'"2027')
            headers = signed(event_id, body, SECRET)
            assert await receiver.post(forged, headers) == 400
            assert await receiver.post(body, headers | {"webhook-id": "other"}) == 400
            assert await receiver.post(body, signed(event_id, body, BEFORE)) == 400
            assert await receiver.post(body, signed(event_id, body, SECRET, ago=600)) == 400
