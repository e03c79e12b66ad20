"""Mail goes straight to the MX hosts of its domains, which are real mail servers."""

from __future__ import annotations

import asyncio
import re
from email import message_from_bytes

import pytest

from babygun.email.model import Recipient
from tests.mx import exim
from tests.mx.conftest import NewWorld, World
from tests.support.processes import PATIENCE, api_process
from tests.support.smtp_server import Message

pytestmark = pytest.mark.asyncio(loop_scope="session")
WAITS = ", ".join([f"{exim.GREYLISTED_FOR + 1}s"] * 3)
SOURCES = ("127.0.0.2", "127.0.0.3")


def by(message: Message) -> str:
    """The mail server that took a message, and passed it on."""
    found = re.search(rb"by ([a-z]+)\.example", message.data)
    assert found, message.data
    return found[1].decode()


async def test_mail_arrives_at_each_server_with_tls_where_it_works(world: World) -> None:
    async with world.rig.worker_process():
        for name in ("postfix", "exim", "opensmtpd"):
            await world.rig.send(f"ann@{name}.example")
        taken = await world.sink.wait_for(3)
    assert {message.recipients[0]: by(message) for message in taken} == {
        "ann@postfix.example": "postfix",
        "ann@exim.example": "exim",
        "ann@opensmtpd.example": "opensmtpd",
    }
    encrypted = {by(message) for message in taken if b"with esmtps" in message.data.lower()}
    assert encrypted >= {"postfix", "exim"}  # Debian 12's OpenSMTPD offers TLS that fails


async def test_email_to_three_domains_and_bcc_becomes_three_queues_with_one_message_each(
    world: World,
) -> None:
    async with (
        world.rig.worker_process(),
        api_process(world.rig.store, world.settings) as api,
    ):
        accepted = await api.post(
            to=["ann@postfix.example", "bob@postfix.example", "cy@exim.example"],
            bcc=["dan@opensmtpd.example", "eve@exim.example"],
        )
        taken = await world.sink.wait_for(3)
        await world.rig.ended(accepted["id"])
        record = await api.get(f"/emails/{accepted['id']}")
    assert record["status"] == "complete"
    assert {recipient["queue"] for recipient in record["recipients"]} == {
        "mx:postfix.example",
        "mx:exim.example",
        "mx:opensmtpd.example",
    }
    assert sorted((by(message), sorted(message.recipients)) for message in taken) == [
        ("exim", ["cy@exim.example", "eve@exim.example"]),
        ("opensmtpd", ["dan@opensmtpd.example"]),
        ("postfix", ["ann@postfix.example", "bob@postfix.example"]),
    ]
    shown = {message_from_bytes(message.data)["To"] for message in taken}
    assert shown == {"ann@postfix.example, bob@postfix.example, cy@exim.example"}


@pytest.mark.parametrize(
    ("domain", "server"), [("second", "exim"), ("welcome", "opensmtpd"), ("named", "exim")]
)
async def test_host_that_is_down_or_refuses_us_leads_to_the_next_in_the_same_try(
    world: World, domain: str, server: str
) -> None:
    async with world.rig.worker_process():
        email = await world.rig.send(f"ann@{domain}.example")
        (taken,) = await world.sink.wait_for(1)
        (ended,) = await world.rig.ended(email)
    assert by(taken) == server
    assert ended.status == "complete"
    assert "deferred" not in await world.rig.events(email)


async def test_greylisted_mail_is_deferred_and_comes_again_from_the_same_address(
    new_world: NewWorld,
) -> None:
    recipients = [f"{name}@exim-greylisting.example" for name in ("ann", "bob", "cy")]
    async with new_world(waits=WAITS, source_addresses=SOURCES) as world:
        async with world.rig.worker_process():
            emails = [await world.rig.send(recipient) for recipient in recipients]
            await world.rig.ended(*emails)
        for email, recipient in zip(emails, recipients, strict=True):
            events = await world.rig.events(email)
            assert events.count("deferred") == 1 and events[-1] == "delivered"
            assert len(addresses_of(world.servers.log("exim"), recipient)) == 1


def addresses_of(log: str, recipient: str) -> set[str]:
    """The addresses of ours that a recipient's mail came from, by a server's log."""
    lines = [line for line in log.splitlines() if recipient in line]
    return {source for source in SOURCES if any(f"[{source}]" in line for line in lines)}


async def test_server_that_takes_mail_only_of_those_who_come_again_gets_it(
    new_world: NewWorld,
) -> None:
    # Postscreen passes an address, but not the connection by which it came first.
    short = {"source_addresses": SOURCES, "smtp_idle": 0.5}
    async with new_world(waits=WAITS, **short) as world:
        async with world.rig.worker_process():
            emails = [
                await world.rig.send(f"{name}@postfix-greylisting.example")
                for name in ("ann", "bob", "cy", "dan")
            ]
            await world.rig.ended(*emails)
        events = [await world.rig.events(email) for email in emails]
    assert {each[-1] for each in events} == {"delivered"}, events
    # Mail that came again from another address would wait again.
    assert {each.count("deferred") for each in events} in ({1}, {0, 1}), events


@pytest.mark.parametrize("server", ["postfix", "exim"])
async def test_server_that_takes_few_connections_gets_all_mail_at_the_first_try(
    world: World, server: str
) -> None:
    async with world.rig.worker_process():
        emails = [await world.rig.send(f"r{n}@{server}-few-connections.example") for n in range(30)]
        found = [await tried(world, email) for email in emails]
    assert {(each.status, each.tries) for each in found} == {("delivered", 1)}, found


async def tried(world: World, email: str) -> Recipient:
    """The e-mail's recipient, once it was tried."""
    async with asyncio.timeout(PATIENCE):
        while not (  # noqa: ASYNC110 (another process's state)
            found := (await world.rig.get(email)).recipients[0]
        ).tries:
            await asyncio.sleep(0.05)
    return found


async def test_server_that_takes_few_messages_a_time_gets_all_mail(
    new_world: NewWorld,
) -> None:
    async with new_world(waits=", ".join(["1s"] * 20)) as world, world.rig.worker_process():
        emails = [await world.rig.send(f"r{n}@postfix-few-messages.example") for n in range(9)]
        await world.sink.wait_for(9, within=60)
        ended = await world.rig.ended(*emails, within=60)
    assert {email.status for email in ended} == {"complete"}


async def test_server_that_refuses_us_alone_loses_nothing(world: World) -> None:
    async with world.rig.worker_process():
        email = await world.rig.send("ann@opensmtpd-refusing.example")
        await world.rig.logged(email, "deferred")
        (recipient,) = (await world.rig.get(email)).recipients
    assert "No service for you" in str(recipient.status_reason)


@pytest.mark.parametrize("domain", ["postfix-ipv6", "both"])
async def test_host_with_ipv6_gets_mail_by_ipv6(world: World, domain: str) -> None:
    before = world.servers.log("postfix").count("[::1]")
    async with world.rig.worker_process():
        await world.rig.send(f"ann@{domain}.example")
        (taken,) = await world.sink.wait_for(1)
    assert by(taken) == "postfix"
    assert world.servers.log("postfix").count("[::1]") > before


async def test_domain_that_takes_no_mail_bounces(world: World) -> None:
    async with world.rig.worker_process():
        email = await world.rig.send("ann@no-mail.example")
        (ended,) = await world.rig.ended(email)
    (recipient,) = ended.recipients
    assert (recipient.status, recipient.enhanced_code) == ("bounced", "5.1.10")


async def test_domain_whose_dns_fails_is_deferred(world: World) -> None:
    async with world.rig.worker_process():
        email = await world.rig.send("ann@broken.example")
        await world.rig.logged(email, "deferred")
        (recipient,) = (await world.rig.get(email)).recipients
    assert "SERVFAIL" in str(recipient.status_reason)
    assert world.sink.messages == []
