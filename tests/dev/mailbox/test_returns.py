"""Bounce messages and complaints of test addresses, taken by a real bounce server."""

from __future__ import annotations

import pytest

from babygun.dev.mailbox import returns
from babygun.dev.mailbox.returns import Returns
from babygun.runtime.settings import Settings
from tests.support.bounce_server import bounce_server
from tests.support.rig import Rig
from tests.support.tries import OK, finished


async def test_bounce_message_and_complaint_come_back_for_a_delivered_email(
    rig: Rig, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(returns, "_PAUSE", 0.01)
    address = "late-bounce@any.test"
    email_id = await rig.send(address)
    await finished(rig.store, email_id, {address: OK}, "main")
    raw = f"Message-ID: <{email_id}@example.com>\r\nSubject: hello\r\n\r\nHello\r\n".encode()
    async with bounce_server(settings) as bounced:
        sending = Returns(settings, bounced.port)
        sending.schedule("bounce", address, raw)
        assert (await rig.logged(email_id, "bounced")).late
        sending.schedule("complaint", address, raw)
        await rig.logged(email_id, "complained")
        await sending.close()
    [recipient] = (await rig.get(email_id)).recipients
    assert (recipient.status, recipient.late, recipient.status_code) == ("bounced", True, 550)
