"""OpenDKIM, as a milter of the receiving Postfix, verifies the signatures of generated e-mails."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from babygun.email.sending_domains import DkimAlgorithm
from tests.mx import postfix
from tests.mx.conftest import MailServers, NewWorld
from tests.support.domains import sealing
from tests.support.news import send_news
from tests.support.random_emails import random_fields
from tests.support.signatures import dkim_records, signing_domain
from tests.support.smtp_server import Message

pytestmark = pytest.mark.asyncio(loop_scope="session")
# Domains, without .example, by the ways to Postfix: two by their MX host, two by a relay.
WAYS = ("postfix-dkim", "postfix-dkim-7bit", "by-relay", "by-relay-7bit")


def settings(servers: MailServers) -> dict[str, Any]:
    """All mail is signed; two domains have a relay."""
    relays = {"by-relay": postfix.DKIM, "by-relay-7bit": postfix.DKIM_7BIT}
    routes = {
        name: {"url": f"smtp://{address}:{servers.port}", "domains": [f"{name}.example"]}
        for name, address in relays.items()
    }
    return {**sealing(), "routes": routes, "feedback_id": "example"}


def verdicts(message: Message) -> list[str]:
    """What OpenDKIM says of each signature, such as ``pass``."""
    head = re.sub(rb"\r\n[ \t]+", b" ", message.data.partition(b"\r\n\r\n")[0]).decode("latin-1")
    [field] = re.findall(r"(?m)^Authentication-Results: opendkim\.example; (.*)$", head)
    return re.findall(r"\bdkim=(\w+)", field)


@pytest.mark.parametrize(
    ("algorithms", "each"), [(["rsa2048"], 250), (["rsa2048", "ed25519"], 25), (["ed25519"], 25)]
)
async def test_signatures_of_generated_emails_pass_by_mx_and_relay_in_8_and_7_bits(
    new_world: NewWorld,
    mail_servers: MailServers,
    algorithms: list[DkimAlgorithm],
    each: int,
) -> None:
    chance = random.Random(26)
    async with new_world(**settings(mail_servers)) as world:
        domain = await signing_domain(world.rig.store, "sender.example", algorithms=algorithms)
        mail_servers.opendkim.publish(dkim_records(domain))
        async with world.rig.worker_process():
            for number in range(each):
                for way in WAYS:
                    fields = random_fields(chance)
                    await world.rig.send(
                        f"r{number}@{way}.example", sender="me@news.sender.example", **fields
                    )
            taken = await world.sink.wait_for(each * len(WAYS), within=120)
    assert {tuple(verdicts(message)) for message in taken} == {("pass",) * len(algorithms)}
    ascii_ways = dict.fromkeys(WAYS, True)
    for message in taken:
        way = message.recipients[0].partition("@")[2].removesuffix(".example")
        ascii_ways[way] &= message.data.isascii()
    assert ascii_ways == {way: way != "postfix-dkim" for way in WAYS}


async def test_signature_of_each_copy_with_a_link_passes(
    new_world: NewWorld, mail_servers: MailServers
) -> None:
    people = [f"r{number}@postfix-dkim.example" for number in range(5)]
    async with new_world(**settings(mail_servers)) as world:
        domain = await signing_domain(world.rig.store, "example.com")
        mail_servers.opendkim.publish(dkim_records(domain))
        async with world.rig.worker_process():
            await send_news(world.rig, *people, body="Grüße\n \n")
            taken = await world.sink.wait_for(len(people))
    assert [verdicts(message) for message in taken] == [["pass"]] * len(people)
    assert all(b"\r\nFeedback-ID: news:client:example\r\n" in message.data for message in taken)


async def test_message_fails_while_dns_has_another_key(
    new_world: NewWorld, mail_servers: MailServers
) -> None:
    """So ``pass`` means something."""
    async with new_world(**settings(mail_servers)) as world:
        domain = await signing_domain(world.rig.store, "example.com")
        other = await signing_domain(world.rig.store, "other.example")
        [own], [foreign] = domain.selectors, other.selectors
        mail_servers.opendkim.publish(
            {
                name.replace("other.example", domain.name).replace(foreign.name, own.name): text
                for name, text in dkim_records(other).items()
            }
        )
        async with world.rig.worker_process():
            await world.rig.send("ann@postfix-dkim.example")
            [message] = await world.sink.wait_for(1)
    assert verdicts(message) == ["fail"]
