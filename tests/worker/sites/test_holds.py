"""Held sites: a fault of the session or the login bounces nothing and uses up no try."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta

import pytest
from msgspec.structs import replace

from babygun.email.tries import RecipientResult
from babygun.errors import Conflict
from babygun.routing.routes import load_routes
from babygun.routing.sites import NO_ROUTE
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store import codec
from babygun.store.emails.on_request import cancel
from babygun.store.records import Hold
from babygun.store.sites import holds as store_holds
from babygun.store.sites.holds import list_holds
from babygun.worker import expiry
from babygun.worker.results import Sent, SessionFault
from babygun.worker.sites.holds import SiteHolds
from tests.smtp.scripted import Peer, ScriptedServer
from tests.store.emails.steps import claimed
from tests.support.invariants import check_invariants
from tests.support.processes import PATIENCE
from tests.support.rig import Rig, quick, rig_for
from tests.support.smtp_server import MisbehavingServer

PASSWORD = ("me", "secret")


@pytest.fixture(autouse=True)
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_holds, "PROBE_WAITS", (0.2,))


@pytest.fixture
async def login() -> AsyncIterator[MisbehavingServer]:
    """A mail server that wants a login."""
    async with MisbehavingServer(credentials=PASSWORD) as server:
        yield server
        server.release()


@pytest.fixture
async def held_rig(settings: Settings, login: MisbehavingServer) -> AsyncIterator[Rig]:
    """Queue ``a`` for recipients at a.example by ``login``."""
    relays = {"a": {"url": login.url, "max_connections": 10, "domains": ["a.example"]}}
    async with rig_for(quick(settings, relays)) as rig:
        yield rig


async def held(rig: Rig, site: str = "a") -> Hold:
    """The site's hold, once there is one."""
    found = await rig.seen(rig.store.keys.hold(site), lambda value: codec.decode_state(value, Hold))
    assert isinstance(found, Hold)
    return found


async def cancelled(rig: Rig, email_id: str) -> None:
    """Cancels an e-mail; not while it is a probe, or being refused."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(Conflict):
                if (await cancel(rig.store, email_id)).status == "cancelled":
                    return
            await asyncio.sleep(0.02)


async def test_password_that_ran_out_bounces_nothing_and_mail_flows_once_it_is_repaired(
    held_rig: Rig, login: MisbehavingServer
) -> None:
    login.credentials = ("me", "another")
    ids = [await held_rig.send(f"user{n}@a.example") for n in range(120)]
    async with held_rig.worker(), held_rig.worker():
        hold = await held(held_rig)
        assert (hold.reason, hold.status_code) == ("authentication", 535)
        await held_rig.seen(
            held_rig.store.keys.hold("a"),
            lambda v: True if codec.decode_state(v, Hold).probes >= 2 else None,
        )
        seen = await check_invariants(held_rig.store)
        assert {email.status for email in seen.emails.values()} == {"incomplete"}
        assert {email.tries for email in seen.emails.values()} == {0}
        assert (await list_holds(held_rig.store))[0].since == hold.since
        login.credentials = PASSWORD
        emails = await held_rig.ended(*ids)
    assert {email.status for email in emails} == {"complete"}
    assert {email.tries for email in emails} == {1}
    copies = Counter(message.recipients for message in login.messages)
    assert len(copies) == 120 and set(copies.values()) == {1}
    assert await list_holds(held_rig.store) == []
    for email_id in ids:
        assert (await held_rig.events(email_id)).count("held") <= 1
    await check_invariants(held_rig.store)


REFUSED = {
    "greeting": ("554 5.7.1 go away", ()),
    "ehlo": ("220 hi", (("EHLO", "550 no"), ("HELO", "550 no"))),
    "tls": ("220 hi", (("STARTTLS", "502 no"),)),
    "auth": ("220 hi", (("AUTH", "535 5.7.8 no"),)),
    "mail": ("220 hi", (("MAIL", "530 5.7.0 Authentication required"),)),
}


@pytest.mark.parametrize("phase", REFUSED)
@pytest.mark.parametrize("extensions", [(), ("PIPELINING",), ("PIPELINING", "CHUNKING")], ids=len)
async def test_session_that_is_refused_in_any_phase_holds_the_site_and_bounces_nothing(
    settings: Settings, phase: str, extensions: tuple[str, ...]
) -> None:
    greeting, answers = REFUSED[phase]
    refusing = True

    async def script(peer: Peer) -> None:
        peer.say(f"{greeting if refusing else '220 hi'}\r\n".encode())
        said = dict(answers) if refusing else {}
        offers = [*extensions, *(["AUTH PLAIN"] if phase == "auth" else [])]
        offers += ["STARTTLS"] if phase == "tls" and refusing else []
        ehlo = "\r\n".join([*(f"250-{each}" for each in ("me", *offers)), "250 8BITMIME"])
        said = {"EHLO": ehlo, "AUTH": "235 ok", "DATA": "354 go"} | said
        while line := (await peer.reader.readline()).decode().strip():
            verb = line.split(" ")[0].upper()
            if verb == "BDAT":
                await peer.reader.readexactly(int(line.split(" ")[1]))
            peer.say(f"{said.get(verb, '250 ok')}\r\n".encode())
            if verb == "DATA":
                await peer.message()
                peer.say(b"250 ok\r\n")
            elif verb == "QUIT":
                return

    async with ScriptedServer(script) as server:
        login = "me:secret@" if phase == "auth" else ""
        relay = {"url": f"smtp://{login}127.0.0.1:{server.port}", "tls": "none"}
        relay |= {"tls": "required"} if phase == "tls" else {}
        async with rig_for(quick(settings, {"a": relay})) as rig:
            ids = [await rig.send(f"user{n}@a.example") for n in range(5)]
            async with rig.worker():
                await held(rig)
                for email_id in ids:
                    email = await rig.get(email_id)
                    assert (email.status, email.tries) == ("incomplete", 0)
                if phase == "tls":
                    return  # the server has no certificate to go on with
                refusing = False
                emails = await rig.ended(*ids)
            assert {email.status for email in emails} == {"complete"}
            assert await list_holds(rig.store) == []


async def test_held_site_does_not_hold_up_the_other(
    settings: Settings, login: MisbehavingServer, smtp: MisbehavingServer
) -> None:
    relays = {"a": {"url": login.url, "domains": ["a.example"]}, "b": {"url": smtp.url}}
    login.credentials = ("me", "another")
    async with rig_for(quick(settings, relays, worker_ready=100)) as rig:
        stuck = [await rig.send(f"user{n}@a.example") for n in range(150)]
        async with rig.worker():
            await held(rig)
            ids = [await rig.send(f"user{n}@b.example") for n in range(150)]
            emails = await rig.ended(*ids)
            assert {email.status for email in emails} == {"complete"}
            assert (await rig.get(stuck[0])).status == "incomplete"


async def test_log_of_a_held_email_says_so_once_however_often_it_probes(
    held_rig: Rig, login: MisbehavingServer
) -> None:
    login.credentials = ("me", "another")
    email_id = await held_rig.send("ann@a.example")
    async with held_rig.worker():
        await held_rig.seen(
            held_rig.store.keys.hold("a"),
            lambda v: True if codec.decode_state(v, Hold).probes >= 3 else None,
        )
        assert await held_rig.events(email_id) == ["accepted", "held"]
        email = await held_rig.get(email_id)
        recipient = email.recipients[0]
        assert (email.tries, recipient.tries, recipient.status) == (0, 0, "deferred")
        assert (recipient.status_code, recipient.reply_class) == (535, "authentication")
        login.credentials = PASSWORD
        await held_rig.ended(email_id)
    assert await held_rig.events(email_id) == ["accepted", "held", "delivered"]


async def test_hold_whose_prober_died_is_probed_by_another_worker(
    held_rig: Rig, login: MisbehavingServer
) -> None:
    login.credentials = ("me", "another")
    email_id = await held_rig.send("ann@a.example")
    async with held_rig.worker():
        first = await held(held_rig)
    login.credentials = PASSWORD
    async with held_rig.worker():
        email = (await held_rig.ended(email_id))[0]
    assert email.status == "complete"
    assert first.site == "a" and await list_holds(held_rig.store) == []


async def test_relay_that_the_settings_do_not_have_any_more_holds_its_site(
    held_rig: Rig, login: MisbehavingServer
) -> None:
    email_id = await held_rig.send("ann@a.example")
    async with held_rig.worker(relays={"b": {"url": login.url}}):
        hold = await held(held_rig)
        assert (hold.reason, hold.status_code) == ("configuration", None)
        assert hold.status_reason == "no relay called a is configured here"
        email = await held_rig.get(email_id)
        assert (email.status, email.tries) == ("incomplete", 0)
    async with held_rig.worker():
        assert (await held_rig.ended(email_id))[0].status == "complete"
    assert await list_holds(held_rig.store) == []


async def test_probe_that_finds_no_server_uses_up_no_try_and_the_hold_stays(
    held_rig: Rig, login: MisbehavingServer
) -> None:
    login.credentials = ("me", "another")
    email_id = await held_rig.send("ann@a.example")
    async with held_rig.worker():
        hold = await held(held_rig)
        await login.stop()
        later = await held_rig.seen(
            held_rig.store.keys.hold("a"),
            lambda v: now if (now := codec.decode_state(v, Hold)).reason == "network" else None,
        )
        assert later.since == hold.since
        email = await held_rig.get(email_id)
        assert (email.tries, email.status) == (0, "incomplete")
        login.credentials = PASSWORD
        await login.start()
        assert (await held_rig.ended(email_id))[0].status == "complete"


async def test_held_email_ends_by_its_own_end_and_names_the_hold(
    held_rig: Rig, login: MisbehavingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "INTERVAL", 0.05)
    monkeypatch.setattr(expiry, "EVERY", 0.05)
    monkeypatch.setattr(expiry, "_SHARE", 0.0)  # also where the machine stood still in one
    login.credentials = ("me", "another")
    email_id = await held_rig.send("ann@a.example")
    async with held_rig.worker(hold_expires_after=1.0):
        await held(held_rig)
        email = (await held_rig.ended(email_id))[0]
    recipient = email.recipients[0]
    assert (email.status, recipient.status, recipient.tries) == ("failed", "expired", 0)
    assert recipient.reply_class == "authentication"
    assert "site a was held since" in (recipient.status_reason or "")
    assert "535" in (recipient.status_reason or "")
    assert "expired after no tries (authentication)" in (email.status_reason or "")
    assert await held_rig.events(email_id) == ["accepted", "held", "expired"]
    await check_invariants(held_rig.store)


async def test_held_email_can_be_cancelled(held_rig: Rig, login: MisbehavingServer) -> None:
    login.credentials = ("me", "another")
    email_id = await held_rig.send("ann@a.example")
    async with held_rig.worker():
        await held_rig.logged(email_id, "held")
        await cancelled(held_rig, email_id)
        # Without mail the hold stays, and the next e-mail probes at once.
        login.credentials = PASSWORD
        other = await held_rig.send("bob@a.example")
        assert (await held_rig.ended(other))[0].status == "complete"
    await check_invariants(held_rig.store)


async def test_cancelled_emails_use_up_no_turn_to_probe(
    held_rig: Rig, login: MisbehavingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker still knows the names of their jobs. The next turn comes in an hour."""
    monkeypatch.setattr(store_holds, "PROBE_WAITS", (3600.0,))
    login.credentials = ("me", "another")
    ids = [await held_rig.send(f"user{n}@a.example") for n in range(20)]
    async with held_rig.worker():
        hold = await held(held_rig)
        for email_id in ids:
            await cancelled(held_rig, email_id)
        login.credentials = PASSWORD
        other = await held_rig.send("bob@a.example")
        await has_its_turn(held_rig, hold)
        assert (await held_rig.ended(other))[0].status == "complete"
    assert await list_holds(held_rig.store) == []


async def test_turn_without_mail_is_used_by_the_next_email(
    held_rig: Rig, login: MisbehavingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_holds, "PROBE_WAITS", (3600.0,))
    login.credentials = ("me", "another")
    email_id = await held_rig.send("ann@a.example")
    async with held_rig.worker():
        hold = await held(held_rig)
        await cancelled(held_rig, email_id)
        login.credentials = PASSWORD
        await has_its_turn(held_rig, hold)
        await held_rig.seen(
            held_rig.store.keys.hold("a"),
            lambda v: True if codec.decode_state(v, Hold).probes else None,
        )
        other = await held_rig.send("bob@a.example")
        assert (await held_rig.ended(other))[0].status == "complete"


async def test_worker_whose_watch_reports_nothing_learns_the_end_of_a_hold_at_its_turn(
    held_rig: Rig,
) -> None:
    """So it is where etcd lost its data: the watch waits for a revision that is far away."""
    store, known = held_rig.store, asyncio.Event()
    refused = RecipientResult("hold", "authentication", 535)
    begun = await store_holds.begin(store, "a", refused, worker_id="w1")
    assert begun is not None
    holds = SiteHolds(
        store,
        load_routes(held_rig.settings).destinations,
        worker_id=lambda: "w2",
        wake=known.set,
        due=lambda _: None,
        ended=lambda _: None,
    )
    following = asyncio.create_task(holds.run())
    await known.wait()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await store_holds.end(store, begun)
    assert holds.is_held("a") and not await holds.take_turn("a") and not holds.is_held("a")


async def test_operators_hold_is_neither_probed_nor_quoted_nor_ended_by_a_try(rig: Rig) -> None:
    store, known = rig.store, asyncio.Event()
    holds = SiteHolds(
        store,
        load_routes(rig.settings).destinations,
        worker_id=lambda: "w1",
        wake=known.set,
        due=lambda site: pytest.fail(f"{site} is to be probed"),
        ended=lambda _: None,
    )
    until = utc_now() + timedelta(hours=1)
    before = await store_holds.begin_by_operator(store, "main", "pause", until=until, by="ann")
    following = asyncio.create_task(holds.run())
    await known.wait()
    assert holds.by_operator == {"main"} and not await holds.take_turn("main")
    # Tries that were under way when the operator held the site.
    one = await claimed(rig, await rig.send("ann@example.org"))
    took = Sent({"ann@example.org": RecipientResult("deliver", "delivered", 250)}, answered=True)
    await holds.settle(one, took, site="main", probe=True, started=0.0)
    no = RecipientResult("hold", "authentication", 535, reason="no")
    refused = Sent({"ann@example.org": no}, SessionFault(no, holds=True, at_mail=False))
    for probe in (True, False):
        await holds.settle(one, refused, site="main", probe=probe, started=0.0)
    assert await list_holds(store) == [before]
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_hold_of_mail_without_a_route_ends_when_a_worker_has_one(rig: Rig) -> None:
    """That mail has sites again, so no e-mail of it would ever probe."""
    none = RecipientResult("hold", "configuration", reason="no route here sends mail to MX hosts")
    assert await store_holds.begin(rig.store, NO_ROUTE, none, worker_id="w1")
    async with rig.worker(relays={}, default="mx"):
        await rig.emptied(rig.store.keys.holds)


async def has_its_turn(rig: Rig, hold: Hold) -> None:
    """A probe of the queue is due from now on."""
    key = rig.store.keys.hold(hold.site)
    due = replace(hold, probe_at=utc_now())
    await rig.store.client.put(key, codec.encode_state(due), await rig.store.client.grant(3600))


async def test_recipients_taken_before_the_session_was_refused_get_no_second_copy(
    settings: Settings,
) -> None:
    async with MisbehavingServer(max_recipients=2, credentials=PASSWORD) as server:
        relays = {"a": {"url": server.url, "max_connections": 1}}
        released = asyncio.Event()

        async def answer(attempt: int) -> str:
            # The second transaction needs another session, and that is refused.
            if attempt == 1:
                server.credentials = ("me", "another")
                return "421 4.3.2 This session ends"
            await asyncio.sleep(0)
            return ""

        server.rcpt["c@a.example"] = answer
        async with rig_for(quick(settings, relays)) as rig:
            email_id = await rig.send("a@a.example", "b@a.example", "c@a.example")
            async with rig.worker():
                hold = await held(rig)
                assert hold.reason == "authentication"
                server.credentials = PASSWORD
                email = (await rig.ended(email_id))[0]
            released.set()
            assert email.status == "complete"
            copies = Counter(r for message in server.messages for r in message.recipients)
            assert copies == {"a@a.example": 1, "b@a.example": 1, "c@a.example": 1}
            await check_invariants(rig.store)


async def test_sender_that_alone_is_refused_holds_the_site_once(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    smtp.mail["bad@example.com"] = "530 5.7.0 Authentication required"
    bad = await rig.send("ann@b.example", sender="bad@example.com")
    async with rig.worker():
        await held(rig, "main")
        good = [await rig.send(f"user{n}@b.example") for n in range(20)]
        emails = await rig.ended(*good)
        assert {email.status for email in emails} == {"complete"}
        email = (await rig.ended(bad))[0]
        assert (email.status, email.recipients[0].status) == ("failed", "expired")
        assert (await rig.events(bad)).count("held") == 1
        # Known by now: the next e-mail of this sender holds up nobody.
        again = await rig.send("ann@b.example", sender="bad@example.com")
        assert (await rig.ended(again))[0].status == "failed"
        assert "held" not in await rig.events(again)


async def test_burst_of_a_sender_that_alone_is_refused_holds_up_the_others_once(
    rig: Rig, smtp: MisbehavingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each turn goes to the first job that is known; all of those are this sender's."""
    monkeypatch.setattr(store_holds, "PROBE_WAITS", (0.3, 0.3, 0.3, 3600.0))
    smtp.mail["bad@example.com"] = "530 5.7.0 Authentication required"
    for n in range(150):
        await rig.send(f"user{n}@b.example", sender="bad@example.com")
    good = [await rig.send(f"user{n}@b.example") for n in range(3)]
    async with rig.worker(worker_concurrency=10):
        emails = await rig.ended(*good)
        assert {email.status for email in emails} == {"complete"}
        again = await rig.send("ann@b.example")
        assert (await rig.ended(again))[0].status == "complete"
        seen = await check_invariants(rig.store)
        assert rig.store.keys.hold("main") not in seen.keys
