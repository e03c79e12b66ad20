"""Replies about SPF, DKIM and DMARC raise an alarm for the sender's domain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from babygun.runtime.metrics import UNAUTHENTICATED
from babygun.runtime.settings import Settings
from babygun.store.domains.alarms import list_alarms
from babygun.worker import domain_alarms
from tests.support.domains import sealing
from tests.support.processes import PATIENCE
from tests.support.rig import Rig, quick, rig_for
from tests.support.signatures import signing_domain
from tests.support.smtp_server import MisbehavingServer

REFUSAL = "550 5.7.26 This mail has been blocked because the sender is unauthenticated"


@pytest.fixture
async def rig(settings: Settings, smtp: MisbehavingServer) -> AsyncIterator[Rig]:
    """Its store has a key that seals."""
    relays = {"main": {"url": smtp.url, "max_connections": 50}}
    async with rig_for(quick(settings, relays, **sealing())) as rig:
        yield rig


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [
        record.fields  # type: ignore[attr-defined]
        for record in caplog.records
        if record.message == "domain not authenticated"
    ]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - the alarm is written beside the tries
            await asyncio.sleep(0.01)


async def test_refusals_of_very_many_other_domains_keep_back_no_alarm_of_a_sending_domain(
    rig: Rig,
    smtp: MisbehavingServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(domain_alarms, "_MOST", 1)
    await signing_domain(rig.store, "example.com")
    smtp.rcpt["ann@example.org"] = REFUSAL
    with caplog.at_level(logging.WARNING, "babygun"):
        async with rig.worker():
            for sender in ("me@a.example", "me@b.example", "me@example.com"):
                await rig.ended(await rig.send("ann@example.org", sender=sender))
            await until(lambda: len(logged(caplog)) > 1)
    assert [fields["domain"] for fields in logged(caplog)] == ["a.example", "example.com"]
    assert len(await list_alarms(rig.store, "example.com")) == 1


async def test_refusals_of_a_domain_raise_one_alarm_that_names_the_record(
    rig: Rig, smtp: MisbehavingServer, caplog: pytest.LogCaptureFixture
) -> None:
    await signing_domain(rig.store, "example.com")
    addresses = ("ann@example.org", "bob@example.org", "eve@example.org")
    smtp.rcpt.update(dict.fromkeys(addresses, REFUSAL))
    counted = UNAUTHENTICATED["unauthenticated"]
    before = counted._value
    with caplog.at_level(logging.WARNING, "babygun"):
        async with rig.worker():
            ids = [await rig.send(each, sender="me@news.example.com") for each in addresses]
            await rig.ended(*ids)
            await until(lambda: bool(logged(caplog)))
    assert counted._value == before + 3
    [alarm] = await list_alarms(rig.store, "example.com")
    assert (alarm.cause, alarm.site, alarm.code, alarm.enhanced_code) == (
        "unauthenticated",
        "main",
        550,
        "5.7.26",
    )
    [fields] = logged(caplog)
    assert fields["domain"] == "example.com"
    assert "Repair the spf, dkim and return_path records of example.com" in fields["remedy"]
    assert "reply needs operator" not in {record.message for record in caplog.records}


async def test_domain_that_nobody_holds_is_logged_once_and_not_kept(
    rig: Rig, smtp: MisbehavingServer, caplog: pytest.LogCaptureFixture
) -> None:
    addresses = ("ann@example.org", "bob@example.org")
    smtp.rcpt.update(dict.fromkeys(addresses, "550 5.7.1 SPF check failed"))
    with caplog.at_level(logging.WARNING, "babygun"):
        async with rig.worker():
            await rig.ended(
                *[await rig.send(each, sender="me@Bücher.example") for each in addresses]
            )
    [fields] = logged(caplog)
    assert (fields["domain"], fields["cause"]) == ("xn--bcher-kva.example", "spf")
    assert not await list_alarms(rig.store, "xn--bcher-kva.example")
