"""Messages are signed with the keys of sending domains; dkimpy verifies what a server got."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta

import pytest
from msgspec.structs import replace

from babygun.email.sending_domains import SIGNS_ON
from babygun.mime.dkim import DkimKey
from babygun.runtime.clock import utc_now
from babygun.runtime.metrics import DKIM_SIGNATURES
from babygun.runtime.settings import Settings
from babygun.runtime.threads import Threads
from babygun.store.emails.acceptance import accept
from babygun.store.emails.new_email import prepare
from babygun.worker.signing import CannotSign, Signer, Signers
from tests.support.domains import sealing
from tests.support.invariants import check_invariants
from tests.support.news import send_news, token_of
from tests.support.rig import Rig, quick, rig_for
from tests.support.signatures import signing_domain, verified_signatures, write_domain
from tests.support.smtp_server import MisbehavingServer


@pytest.fixture
async def rig(settings: Settings, smtp: MisbehavingServer) -> AsyncIterator[Rig]:
    """Its store has a key that seals."""
    relays = {"main": {"url": smtp.url, "max_connections": 50}}
    async with rig_for(quick(settings, relays, **sealing())) as rig:
        yield rig


def tag(message: bytes, name: str) -> str:
    """A tag of the topmost signature."""
    head = re.sub(rb"\r\n[ \t]+", b" ", message.partition(b"\r\n\r\n")[0]).decode()
    found = re.search(rf"^DKIM-Signature:.*? {name}=([^;]*)", head)
    assert found, head
    return found[1].replace(" ", "")


async def test_email_of_a_sending_domain_is_signed(rig: Rig, smtp: MisbehavingServer) -> None:
    domain = await signing_domain(rig.store, "example.com")
    async with rig.worker():
        email_id = await rig.send("ann@example.org", subject="Grüße", body="Grüße\n \n")
        [email] = await rig.ended(email_id)
        await check_invariants(rig.store)
    [message] = smtp.messages
    assert verified_signatures(message.data, domain) == ["example.com"]
    assert tag(message.data, "t") == str(int(email.created_at.timestamp()))


async def test_email_of_a_subdomain_is_signed_by_the_domain_that_covers_it(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    domain = await signing_domain(rig.store, "example.com")
    async with rig.worker():
        await rig.ended(await rig.send("ann@example.org", sender="me@News.Example.com"))
    assert verified_signatures(smtp.messages[0].data, domain) == ["example.com"]


@pytest.mark.parametrize(
    ("clients", "sender"),
    [(["other"], "me@example.com"), (["client"], "me@example.net"), (["client"], "me@xample.com")],
)
async def test_email_of_a_domain_that_the_client_does_not_hold_is_not_signed(
    rig: Rig, smtp: MisbehavingServer, clients: list[str], sender: str
) -> None:
    await signing_domain(rig.store, "example.com", clients=clients)
    async with rig.worker():
        await rig.ended(await rig.send("ann@example.org", sender=sender))
    assert b"DKIM-Signature" not in smtp.messages[0].data


async def test_email_is_not_signed_before_dns_has_the_key(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    domain = await signing_domain(rig.store, "example.com")
    [selector] = domain.selectors
    new = replace(selector, state="new", signing_since=None, seen_at=None)
    await write_domain(rig.store, replace(domain, selectors=(new,)))
    async with rig.worker():
        await rig.ended(await rig.send("ann@example.org"))
    assert b"DKIM-Signature" not in smtp.messages[0].data


async def test_email_has_a_signature_of_each_algorithm_and_both_are_counted(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    domain = await signing_domain(rig.store, "example.com", algorithms=("rsa2048", "ed25519"))
    signed = DKIM_SIGNATURES["signed"]._value
    async with rig.worker():
        await rig.ended(await rig.send("ann@example.org"))
    assert DKIM_SIGNATURES["signed"]._value == signed + 2
    [message] = smtp.messages
    assert verified_signatures(message.data, domain) == ["example.com"] * 2
    assert tag(message.data, "a") == "rsa-sha256", "the older algorithm first"


async def test_each_try_sends_the_same_bytes(rig: Rig, smtp: MisbehavingServer) -> None:
    await signing_domain(rig.store, "example.com", algorithms=("rsa2048", "ed25519"))
    async with rig.worker():
        await rig.ended(await rig.send("drop-dot@example.org"))
    assert len(smtp.messages) == 3
    assert len({message.data for message in smtp.messages}) == 1
    assert b"DKIM-Signature" in smtp.messages[0].data


async def test_each_copy_is_signed_with_its_own_link(rig: Rig, smtp: MisbehavingServer) -> None:
    domain = await signing_domain(rig.store, "example.com")
    people = [f"r{n}@example.org" for n in range(5)]
    async with rig.worker():
        await rig.ended(await send_news(rig, *people))
    assert len({token_of(message) for message in smtp.messages}) == 5
    for message in smtp.messages:
        assert verified_signatures(message.data, domain) == ["example.com"]
        assert "list-unsubscribe-post:list-unsubscribe:" in tag(message.data, "h")


async def test_signed_message_goes_to_a_relay_in_7_bits_and_another_one_in_8(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    """The relay may pass it on to a server that takes 7 bits only."""
    domain = await signing_domain(rig.store, "example.com")
    async with rig.worker():
        for sender in ("me@example.com", "me@example.net"):
            await rig.ended(await rig.send("ann@example.org", sender=sender, body="Grüße\n"))
    signed, unsigned = (message.data for message in smtp.messages)
    assert signed.isascii() and verified_signatures(signed, domain)
    assert "Grüße".encode() in unsigned


async def test_message_to_a_server_without_8bitmime_and_without_smtputf8_verifies(
    settings: Settings,
) -> None:
    async with MisbehavingServer(eight_bit=False, smtputf8=False) as server:
        given = quick(settings, {"main": {"url": server.url}}, **sealing())
        async with rig_for(given) as rig:
            domain = await signing_domain(rig.store, "xn--bcher-kva.example")
            async with rig.worker():
                await rig.ended(
                    await rig.send("ann@example.org", sender="me@bücher.example", body="Grüße\n")
                )
        [message] = server.messages
    assert verified_signatures(message.data, domain) == ["xn--bcher-kva.example"]


async def test_email_waits_while_the_worker_lacks_the_key_that_opens_the_domains(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    domain = await signing_domain(rig.store, "example.com")
    waits = {"retry_intervals": (0.2,) * 50}
    async with rig.worker(**sealing(), **waits):
        email_id = await rig.send("ann@example.org")
        entry = await rig.logged(email_id, "deferred")
    [attempt] = entry.attempts
    [reply] = attempt.replies
    assert reply.reply_class == "configuration"
    assert "secrets_key" in str(reply.status_reason) and not smtp.messages
    async with rig.worker(**waits):
        await rig.ended(email_id)
    assert verified_signatures(smtp.messages[0].data, domain) == ["example.com"]


async def test_email_of_a_domain_whose_key_is_gone_is_deferred(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    domain = await signing_domain(rig.store, "example.com")
    await rig.store.client.delete(rig.store.keys.dkim_key(domain.name, domain.selectors[0].name))
    async with rig.worker():
        entry = await rig.logged(await rig.send("ann@example.org"), "deferred")
    assert "no DKIM key" in str(entry.attempts[0].replies[0].status_reason)
    assert not smtp.messages


async def test_scheduled_email_is_signed_as_of_its_time(rig: Rig, smtp: MisbehavingServer) -> None:
    """A signature that began with the acceptance could have ended by then."""
    domain = await signing_domain(rig.store, "example.com")
    email, content = rig.email("ann@example.org")
    at = email.created_at - timedelta(minutes=1)
    scheduled = replace(email, created_at=at - timedelta(days=2), send_at=at)
    async with rig.worker():
        await accept(rig.store, "client", prepare(rig.store, scheduled, content))
        await rig.ended(email.id)
    [message] = smtp.messages
    assert verified_signatures(message.data, domain)
    assert tag(message.data, "t") == str(int(at.timestamp()))


# --- signers ---


async def test_email_of_an_api_whose_clock_is_ahead_is_signed_with_the_time_of_its_try(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    domain = await signing_domain(rig.store, "example.com")
    email, content = rig.email("ann@example.org")
    ahead = replace(email, created_at=email.created_at + timedelta(days=31))
    before = utc_now()
    async with rig.worker():
        await accept(rig.store, "client", prepare(rig.store, ahead, content))
        await rig.ended(ahead.id)
    [message] = smtp.messages
    assert verified_signatures(message.data, domain) == ["example.com"]
    assert int(before.timestamp()) <= int(tag(message.data, "t")) <= utc_now().timestamp()


async def test_email_waits_until_the_sending_domains_are_known(rig: Rig) -> None:
    """Else a worker that has just started would send it without its signature."""
    signers = Signers(rig.store)
    waiting = asyncio.create_task(signers.of(rig.email("ann@example.org")[0]))
    await asyncio.sleep(0)
    assert not waiting.done()
    await signing_domain(rig.store, "example.com")
    rig.store.domains.ready.set()
    assert await waiting is not None
    signers.close()


async def test_tries_keep_the_selector_of_the_first_one_while_it_may_sign(rig: Rig) -> None:
    now = utc_now()
    old = await signing_domain(rig.store, "example.com", since=now - timedelta(days=30))
    new = await signing_domain(rig.store, "example.com", since=now - timedelta(days=2))
    selectors = (
        replace(old.selectors[0], state="old", old_since=now - timedelta(days=2)),
        new.selectors[0],
    )
    rotated = replace(old, selectors=selectors)
    await write_domain(rig.store, rotated)
    rig.store.domains.ready.set()
    signers = Signers(rig.store)
    email, _ = rig.email("ann@example.org")
    earlier = replace(email, created_at=now - timedelta(days=3))
    for one, selector in ((email, new.selectors[0]), (earlier, old.selectors[0])):
        signer = await signers.of(one)
        assert signer is not None
        assert tag(await signer.sign(b"From: a@b\r\n\r\n"), "s") == selector.name
    gone = replace(selectors[0], old_since=now - SIGNS_ON)
    await write_domain(rig.store, replace(rotated, selectors=(gone, selectors[1])))
    signer = await signers.of(earlier)
    assert signer is not None
    assert tag(await signer.sign(b"From: a@b\r\n\r\n"), "s") == new.selectors[0].name
    signers.close()


async def test_key_is_read_once_and_again_after_the_domain_has_changed(rig: Rig) -> None:
    domain = await signing_domain(rig.store, "example.com")
    rig.store.domains.ready.set()
    signers = Signers(rig.store)
    email, _ = rig.email("ann@example.org")
    assert await signers.of(email) is not None
    key = rig.store.keys.dkim_key("example.com", domain.selectors[0].name)
    await rig.store.client.delete(key)
    assert await signers.of(email) is not None, "it was kept"
    await write_domain(rig.store, domain)
    failed = DKIM_SIGNATURES["failed"]._value
    with pytest.raises(CannotSign, match="no DKIM key"):
        await signers.of(email)
    assert DKIM_SIGNATURES["failed"]._value == failed + 1
    signers.close()


async def test_same_message_is_signed_once_however_often_it_goes_out() -> None:
    signed: list[bytes] = []

    def sign(digest: bytes) -> bytes:
        signed.append(digest)
        return digest

    key = DkimKey("example.com", "s", "ed25519-sha256", sign)
    with closing(Threads(1, "dkim")) as threads:
        signer = Signer([key], 1, 2, threads)
        first = await signer.sign(b"From: a@b\r\n\r\nHi\r\n")
        assert await signer.sign(b"From: a@b\r\n\r\nHi\r\n") == first
        assert len(signed) == 1
        await signer.sign(b"From: a@b\r\n\r\nHo\r\n")
        assert len(signed) == 2


# --- Feedback-ID ---


async def test_feedback_id_is_added_where_the_setting_is_on_and_signed(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    domain = await signing_domain(rig.store, "example.com")
    async with rig.worker(feedback_id="example"):
        await rig.ended(await send_news(rig, "ann@example.org"))
        await rig.ended(
            await rig.send("bob@example.org", headers=(("Feedback-ID", "a:b:c:mine5"),))
        )
    [news], [own] = smtp.to("ann@example.org"), smtp.to("bob@example.org")
    assert b"\r\nFeedback-ID: news:client:example\r\n" in news.data
    assert re.findall(rb"Feedback-ID: (.*)\r", own.data) == [b"a:b:c:mine5"]
    for message in (news, own):
        assert verified_signatures(message.data, domain)
        assert ":feedback-id:" in tag(message.data, "h")
