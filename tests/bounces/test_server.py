"""What comes back, from the session of a mail server to the e-mail's record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

import pytest
import pytest_asyncio

from babygun.bounces import reception
from babygun.email.bounces import Bounce
from babygun.email.return_path import ReturnPath
from babygun.runtime.settings import Settings
from babygun.store import Store, return_path_keys
from babygun.store.cluster import health
from babygun.store.emails.late import Outcome
from tests.support.bounce_server import Bounced, bounce_server
from tests.support.etcd_server import EtcdServer
from tests.support.processes import PATIENCE
from tests.support.returned import feedback, report, return_path
from tests.support.rig import Rig, quick, rig_for
from tests.support.smtp_server import MisbehavingServer

ANN = "ann@example.org"
COMPLAINTS = "complaints@bounces.example.com"
AWAY = b"From: ann@example.org\nSubject: Out of office\nAuto-Submitted: auto-replied\n\nMonday.\n"


@dataclass
class Delivered:
    """An e-mail that a server took, its return path, and its message."""

    rig: Rig
    email_id: str
    return_path: str
    message: bytes

    async def status(self) -> tuple[str, str, bool]:
        email = await self.rig.get(self.email_id)
        [recipient] = email.recipients
        return email.status, recipient.status, recipient.late


@pytest_asyncio.fixture
async def delivered(settings: Settings, smtp: MisbehavingServer) -> AsyncIterator[Delivered]:
    async with rig_for(quick(settings, {"main": {"url": smtp.url}})) as rig:
        yield await deliver(rig, smtp)


async def deliver(rig: Rig, smtp: MisbehavingServer) -> Delivered:
    async with rig.worker():
        email_id = await rig.send(ANN)
        await rig.ended(email_id)
    [message] = smtp.messages
    return Delivered(rig, email_id, await return_path(rig.store, email_id, ANN), message.data)


@pytest_asyncio.fixture
async def bounced(delivered: Delivered) -> AsyncIterator[Bounced]:
    async with bounce_server(delivered.rig.settings) as running:
        yield running


async def test_bounce_after_the_delivery_makes_the_recipient_bounced_and_its_email_failed(
    delivered: Delivered, bounced: Bounced
) -> None:
    assert await delivered.status() == ("complete", "delivered", False)
    reply = await bounced.give(report(ANN), delivered.return_path)
    assert reply == "250 2.0.0 Taken"
    assert await delivered.status() == ("failed", "bounced", True)
    [recipient] = (await delivered.rig.get(delivered.email_id)).recipients
    assert (recipient.status_code, recipient.enhanced_code) == (550, "5.1.1")
    assert recipient.reply_class == "bad_mailbox"
    assert recipient.status_reason == f"<{ANN}>: no such user here"
    assert await bounced.give(report(ANN), delivered.return_path) == "250 2.0.0 Taken"
    events = await delivered.rig.events(delivered.email_id)
    assert events.count("bounced") == 1


async def test_its_settings_are_noted_for_the_audit(bounced: Bounced, delivered: Delivered) -> None:
    store = delivered.rig.store
    key, found = store.keys.audit_run("bounced"), None
    async with asyncio.timeout(PATIENCE):
        while found is None:
            found = await store.client.get(key)
    assert b'"prefix"' in found.value


async def test_return_path_in_other_letters_is_the_same(
    delivered: Delivered, bounced: Bounced
) -> None:
    assert (await bounced.give(report(ANN), delivered.return_path.upper())).startswith("250")
    assert await delivered.status() == ("failed", "bounced", True)


@pytest.mark.parametrize(
    "message",
    [
        report(ANN, action="delayed", status="4.4.1"),
        report(ANN, action="relayed", status="2.0.0"),
        AWAY,
        b"From: ann@example.org\nSubject: Re: hello\n\nThanks!\n",
    ],
    ids=["delayed", "relayed", "away", "person"],
)
async def test_message_that_is_no_bounce_is_taken_and_changes_nothing(
    delivered: Delivered, bounced: Bounced, message: bytes
) -> None:
    assert (await bounced.give(message, delivered.return_path)).startswith("250")
    assert await delivered.status() == ("complete", "delivered", False)


async def test_complaint_is_found_by_the_return_path_in_the_quoted_head(
    delivered: Delivered, bounced: Bounced
) -> None:
    message = f"Return-Path: <{delivered.return_path}>\n".encode() + delivered.message
    assert (await bounced.give(feedback("redacted", message), COMPLAINTS)).startswith("250")
    assert "complained" in await delivered.rig.events(delivered.email_id)


async def test_complaint_without_a_return_path_is_found_by_message_id_and_recipient(
    delivered: Delivered, bounced: Bounced
) -> None:
    assert (await bounced.give(feedback(ANN, delivered.message), COMPLAINTS)).startswith("250")
    assert "complained" in await delivered.rig.events(delivered.email_id)


async def test_complaint_that_names_none_of_our_emails_is_taken_and_changes_nothing(
    delivered: Delivered, bounced: Bounced
) -> None:
    for message in (feedback(ANN, b"Message-ID: <1@example.com>\n\n"), report(ANN)):
        assert (await bounced.give(message, COMPLAINTS)).startswith("250")
    assert await delivered.status() == ("complete", "delivered", False)


async def test_address_with_a_changed_seal_is_refused(
    delivered: Delivered, bounced: Bounced
) -> None:
    local, _, domain = delivered.return_path.partition("@")
    last = "a" if local[-1] != "a" else "b"
    for wrong in (local[:-1] + last, local[:-1], local + "a", local.replace(".", "")):
        assert (await bounced.give(report(ANN), f"{wrong}@{domain}")).startswith("550 5.1.1")
    assert await delivered.status() == ("complete", "delivered", False)


async def test_address_under_a_key_that_is_not_followed_yet_is_taken(
    delivered: Delivered, bounced: Bounced
) -> None:
    bounced.server.keys._known.clear()
    assert (await bounced.give(report(ANN), delivered.return_path)).startswith("250")
    assert await delivered.status() == ("failed", "bounced", True)


async def test_wrong_addresses_read_the_keys_once_a_second(
    delivered: Delivered, bounced: Bounced, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = []

    async def counted(store: Store) -> int:
        readings.append(store)
        return 1

    monkeypatch.setattr(bounced.server.keys, "_read_all", counted)
    monkeypatch.setattr(return_path_keys, "_LOOK_INTERVAL", 60.0)
    local = delivered.return_path.partition("@")[0]
    wrong = f"{local[:-1]}{'a' if local[-1] != 'a' else 'b'}@example.com"
    for address in (wrong, wrong, "ann@example.com", wrong):
        assert (await bounced.give(report(ANN), address)).startswith("550")
    assert len(readings) == 1


async def test_bounce_that_is_quicker_than_the_result_of_its_try_is_to_come_again(
    delivered: Delivered, bounced: Bounced, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: Iterator[Outcome] = iter(["too_early"])

    async def early(store: Store, address: ReturnPath, found: Bounce) -> Outcome:
        return next(outcomes)

    monkeypatch.setattr(reception, "late_bounce", early)
    assert (await bounced.give(report(ANN), delivered.return_path)).startswith("451")


async def test_fault_of_ours_makes_the_server_come_again(
    delivered: Delivered, bounced: Bounced, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(message: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(reception, "read", broken)
    assert (await bounced.give(report(ANN), delivered.return_path)).startswith("451")


async def test_bounce_while_etcd_is_away_is_taken_when_it_comes_again(
    smtp: MisbehavingServer,
) -> None:
    with EtcdServer(fsync=False) as server:
        settings = Settings(etcd_endpoints=(server.endpoint,))
        async with rig_for(quick(settings, {"main": {"url": smtp.url}})) as rig:
            delivered = await deliver(rig, smtp)
            async with bounce_server(replace(rig.settings, etcd_timeout=2.0)) as bounced:
                server.pause()
                reply = await bounced.give(report(ANN), delivered.return_path)
                assert reply.startswith("451 4.3.0")
                reasons, _ = await bounced.server.readiness()
                assert reasons
                server.resume()
                async with asyncio.timeout(PATIENCE):
                    while not reply.startswith("250"):
                        reply = await bounced.give(report(ANN), delivered.return_path)
                assert await delivered.status() == ("failed", "bounced", True)


async def test_start_without_etcd_asks_servers_to_come_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "START_PATIENCE", 0.1)
    away = replace(settings, etcd_endpoints=("http://127.0.0.1:1",))
    async with bounce_server(away, known=False) as bounced:
        path = f"bounces+{'a' * 26}.{'a' * 9}.{'a' * 6}.{'a' * 12}@bounces.example.com"
        assert (await bounced.give(report(ANN), path)).startswith("451 4.3.0")


async def test_stop_ends_idle_sessions_and_finishes_the_message_under_way(
    delivered: Delivered,
) -> None:
    async with (
        bounce_server(delivered.rig.settings) as bounced,
        bounced.connected() as idle,
        bounced.connected() as busy,
    ):
        await idle.greet()
        await busy.greet()
        await busy.say("MAIL FROM:<>")
        await busy.say(f"RCPT TO:<{delivered.return_path}>")
        await busy.say("DATA")
        bounced.server.stop()
        assert (await idle.reply()).startswith("421 4.3.2")
        assert await idle.reply() == ""
        reasons, _ = await bounced.server.readiness()
        assert any("stopping" in reason for reason in reasons)
        busy.writer.write(report(ANN).replace(b"\n", b"\r\n"))
        assert (await busy.say(".")).startswith("250")
        assert (await busy.reply()).startswith("421 4.3.2")
    assert await delivered.status() == ("failed", "bounced", True)
