"""What the tests of webhooks share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from babygun.runtime.settings import Settings
from babygun.webhooks import lane, sender
from tests.support.rig import Rig, quick, rig_for
from tests.support.smtp_server import MisbehavingServer
from tests.support.webhook_server import WebhookServer, webhook_server
from tests.webhooks.stage import LOOPBACK, Stage


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes look more often, and pause less, than outside of tests."""
    monkeypatch.setattr(sender, "LOOK", 0.02)
    monkeypatch.setattr(lane, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(lane, "_LONGEST_PAUSE", 0.05)


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookServer]:
    async with webhook_server() as server:
        yield server


@pytest.fixture
async def rig(settings: Settings, smtp: MisbehavingServer) -> AsyncIterator[Rig]:
    """As elsewhere, and webhooks may be on this machine, without TLS, and have short times."""
    own = quick(
        settings,
        {"main": {"url": smtp.url, "max_connections": 50}},
        webhook_allow_http=True,
        webhook_allow_networks=LOOPBACK,
        webhook_retry_intervals=(0.1, 0.2),
        webhook_timeout=30.0,
    )
    async with rig_for(own) as rig:
        yield rig


@pytest.fixture
def stage(rig: Rig) -> Stage:
    return Stage(rig)
