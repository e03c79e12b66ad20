"""Return paths of e-mails that a worker sends, as a server gets them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from babygun.email.return_path import ReturnPath, of_queue, of_recipient
from babygun.email.sending_domains import DnsRecord, SendingDomain, Verified
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store.emails import on_request
from babygun.store.return_path_keys import ReturnPathKeys
from babygun.worker import copies
from tests.support.invariants import check_invariants
from tests.support.news import send_news, token_of
from tests.support.rig import Rig, quick, rig_for
from tests.support.signatures import write_domain
from tests.support.smtp_server import HANG_UP, MisbehavingServer

PEOPLE = [f"r{n}@example.org" for n in range(5)]


@asynccontextmanager
async def sending(settings: Settings, smtp: MisbehavingServer, mode: str) -> AsyncIterator[Rig]:
    """A worker, by a relay with this mode. The client's domain has a verified return path."""
    relay: dict[str, Any] = {"url": smtp.url}
    if mode:
        relay["return_path"] = mode
    async with rig_for(quick(settings, {"main": relay})) as rig:
        await write_domain(rig.store, domain())
        async with rig.worker():
            yield rig


def domain(**changes: Any) -> SendingDomain:
    now = utc_now() - timedelta(hours=1)
    record = DnsRecord("return_path", "MX", "bounces.example.com", "mx", status="verified")
    verified = Verified(now, "verified", (record,))
    made = SendingDomain("example.com", ("client",), now, now, verified=verified)
    return replace(made, **changes)


async def read(rig: Rig, sender: str) -> ReturnPath | None:
    keys = ReturnPathKeys(rig.store)
    await keys.current()
    local_part, _, host = sender.rpartition("@")
    assert host == "bounces.example.com"
    return keys.read(local_part)


async def test_each_recipient_has_a_return_path_and_a_transaction_of_its_own(
    settings: Settings, smtp: MisbehavingServer
) -> None:
    async with sending(settings, smtp, "recipient") as rig:
        email_id = await rig.send(*PEOPLE, sender="me@news.example.com")
        [email] = await rig.ended(email_id)
        await check_invariants(rig.store)
        assert (email.status, email.tries) == ("complete", 1)
        found = {m.recipients: await read(rig, m.sender) for m in smtp.messages}
    assert found == {(one,): of_recipient(email_id, one, 0, "client") for one in PEOPLE}
    assert len({message.data for message in smtp.messages}) == 1
    assert b"From: me@news.example.com\r\n" in smtp.messages[0].data


async def test_one_recipient_is_one_transaction_with_its_own_return_path(
    settings: Settings, smtp: MisbehavingServer
) -> None:
    async with sending(settings, smtp, "recipient") as rig:
        email_id = await rig.send("ann@example.org")
        await rig.ended(email_id)
        [message] = smtp.messages
        assert await read(rig, message.sender) == of_recipient(
            email_id, "ann@example.org", 0, "client"
        )
        [_, entry] = await rig.log(email_id)
    assert entry.event == "delivered"


async def test_recipients_of_a_queue_share_a_return_path_and_a_transaction(
    settings: Settings, smtp: MisbehavingServer
) -> None:
    async with sending(settings, smtp, "queue") as rig:
        email_id = await rig.send(*PEOPLE)
        await rig.ended(email_id)
        [message] = smtp.messages
        assert await read(rig, message.sender) == of_queue(email_id, "main", 0, "client")
    assert message.recipients == tuple(PEOPLE)


@pytest.mark.parametrize("mode", ["", "off"])
async def test_relay_gets_the_senders_address_by_default(
    settings: Settings, smtp: MisbehavingServer, mode: str
) -> None:
    async with sending(settings, smtp, mode) as rig:
        await rig.ended(await rig.send(*PEOPLE, sender="me@example.com"))
    [message] = smtp.messages
    assert message.sender == "me@example.com"


@pytest.mark.parametrize(
    "other",
    [domain(verified=None), domain(clients=("other",)), domain(name="example.net")],
    ids=["not verified", "another client's", "another domain"],
)
async def test_sender_stays_where_no_domain_has_a_verified_return_path(
    settings: Settings, smtp: MisbehavingServer, other: SendingDomain
) -> None:
    relay = {"url": smtp.url, "return_path": "recipient"}
    async with rig_for(quick(settings, {"main": relay})) as rig:
        await write_domain(rig.store, other)
        async with rig.worker():
            await rig.ended(await rig.send(*PEOPLE, sender="me@example.com"))
    assert {message.sender for message in smtp.messages} == {"me@example.com"}


async def test_each_try_has_the_same_return_path(
    settings: Settings, smtp: MisbehavingServer
) -> None:
    smtp.message["twice@example.org"] = lambda attempt: HANG_UP if attempt == 1 else ""
    async with sending(settings, smtp, "recipient") as rig:
        await rig.ended(await rig.send("ann@example.org", "twice@example.org"))
    first, second = smtp.to("twice@example.org")
    assert first.sender == second.sender


async def test_return_paths_stay_through_the_rounds_of_a_try_and_its_last_recipient(
    settings: Settings, smtp: MisbehavingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one recipient left it is still a round: the deferred ones wait for their time."""
    monkeypatch.setattr(copies, "_MOST", 1)
    monkeypatch.setattr(copies, "_AT_ONCE", 1)
    people = [f"flaky-1-{n}@example.org" for n in range(2)] + ["ann@example.org"]
    for person in people[:2]:
        smtp.rcpt[person] = lambda attempt: "451 4.3.0 later" if attempt == 1 else ""
    async with sending(settings, smtp, "recipient") as rig:
        email_id = await rig.send(*people)
        [email] = await rig.ended(email_id)
        await check_invariants(rig.store)
        found = {m.recipients: await read(rig, m.sender) for m in smtp.messages}
    assert {r.email: (r.status, r.tries) for r in email.recipients} == {
        people[0]: ("delivered", 2),
        people[1]: ("delivered", 2),
        people[2]: ("delivered", 1),
    }
    assert found == {(one,): of_recipient(email_id, one, 0, "client") for one in people}
    assert all(smtp.attempts[person] == 2 for person in people[:2])


async def test_retry_by_a_client_has_another_return_path(
    settings: Settings, smtp: MisbehavingServer
) -> None:
    smtp.rcpt["bob@example.org"] = lambda attempt: "550 5.7.1 refused" if attempt == 1 else ""
    async with sending(settings, smtp, "recipient") as rig:
        email_id = await rig.send("bob@example.org", "ann@example.org")
        await rig.ended(email_id)
        await on_request.retry(rig.store, email_id)
        await rig.ended(email_id)
        [again] = smtp.to("bob@example.org")
        assert await read(rig, again.sender) == of_recipient(
            email_id, "bob@example.org", 1, "client"
        )


async def test_copies_with_links_have_return_paths_of_their_own(
    settings: Settings, smtp: MisbehavingServer
) -> None:
    async with sending(settings, smtp, "recipient") as rig:
        email_id = await send_news(rig, *PEOPLE)
        await rig.ended(email_id)
        found = {m.recipients: await read(rig, m.sender) for m in smtp.messages}
    assert found == {(one,): of_recipient(email_id, one, 0, "client") for one in PEOPLE}
    assert len({token_of(message) for message in smtp.messages}) == 5
