"""Mail of sources that warm up: real DNS messages and sockets, and workers that share a ceiling."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import dns.message
import dns.rdatatype
import dns.rrset
import pytest

from babygun.email.compose import new_email
from babygun.email.model import Email, Recipient
from babygun.email.sending_domains import DnsRecord, SendingDomain, Verified
from babygun.errors import EtcdUnavailable
from babygun.etcd import Watch
from babygun.intake.ids import new_email_id
from babygun.routing.destination import Destination
from babygun.routing.server import Server
from babygun.routing.sites import Site
from babygun.routing.warm_up import read_plan
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.runtime.tasks import cancel_all
from babygun.smtp import Outcome
from babygun.smtp.replies import Reply
from babygun.store import Store, codec
from babygun.store.keys import range_end
from babygun.store.warm_ups.counts import DayCount, read_counts
from babygun.store.warm_ups.sources import begin_again, skip
from babygun.worker import Worker, copies, warm_up_parts
from babygun.worker.warm_up_parts import Full, Granted, WarmUpParts
from babygun.worker.warm_ups import NotCounted, WarmUps
from tests.support.dns_servers import scripted
from tests.support.etcd_server import free_ports
from tests.support.invariants import check_invariants
from tests.support.processes import PATIENCE
from tests.support.rig import Rig, changed, quick, rig_for
from tests.support.signatures import write_domain
from tests.support.smtp_server import MisbehavingServer

pytestmark = pytest.mark.usefixtures("one_day")

HOST = "127.0.0.81"
SITE = "mx:mx.one.example"
OLD, NEW = "127.0.0.2", "127.0.0.3"
YEAR_AGO = (utc_now() - timedelta(days=365)).date()


@pytest.fixture(autouse=True)
def patient_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a worker waits until etcd has all, also on a machine that stood still."""
    monkeypatch.setattr(warm_up_parts, "_LAST_WRITES", 60.0)


def one_mail_host(query: dns.message.QueryMessage, _: bool) -> dns.message.Message:
    """Every domain has the same mail host, at HOST."""
    answer = dns.message.make_response(query)
    asked = query.question[0]
    kind = dns.rdatatype.to_text(asked.rdtype)
    found = {"MX": "10 mx.one.example.", "A": HOST}.get(kind)
    if found and (kind == "MX" or asked.name.to_text() == "mx.one.example."):
        answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", kind, found))
    else:
        soa = "ns.example. host.example. 1 3600 600 86400 60"
        answer.authority.append(dns.rrset.from_text("example.", 60, "IN", "SOA", soa))
    return answer


class World:
    """``rig`` sends straight to one mail host, which is ``server``."""

    def __init__(self, rig: Rig, server: MisbehavingServer) -> None:
        self.rig, self.server = rig, server

    async def send(self, count: int, **fields: Any) -> list[str]:
        return [await self.rig.send(f"r{n}@one.example", **fields) for n in range(count)]

    async def settled(self, *email_ids: str) -> list[Email]:
        """The records, once each e-mail is final or put off."""
        keys, left = self.rig.store.keys, set(email_ids)
        client, end = self.rig.store.client, range_end(keys.emails)
        found = await client.range(keys.emails, end)

        def look(value: bytes) -> None:
            email = codec.decode_email(value)
            if email.final or email.not_before is not None:
                left.discard(email.id)

        async with asyncio.timeout(PATIENCE):
            watch = Watch(client, keys.emails, end, revision=found.revision + 1, deletes=False)
            async with watch as batches:
                for kv in found.kvs:
                    look(kv.value)
                while left:
                    for event in (await anext(batches)).events:
                        look(event.kv.value)
        return [await self.rig.get(email_id) for email_id in email_ids]

    async def used(self, source: str) -> DayCount:
        """What etcd has of today."""
        found = await read_counts(self.rig.store, source, first=[], most=10)
        return found[SITE].on(utc_now().date()) if found else DayCount()


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    (port,) = free_ports(1)
    server = MisbehavingServer(port=port)
    server.host = HOST
    async with server, scripted(one_mail_host) as resolver:
        given = quick(
            settings,
            {},
            default="mx",
            resolvers=(resolver,),
            mx_port=port,
            allow_networks=(ip_network("127.0.0.0/8"),),
            warm_up="both",
            warm_up_table=(3, 6),
        )
        async with rig_for(given) as rig:
            yield World(rig, server)


def sending_domain(**verified: Any) -> SendingDomain:
    now = utc_now()
    return SendingDomain("example.com", ("client",), now, now, **verified)


def put_off(emails: list[Email]) -> list[Recipient]:
    return [r for email in emails for r in email.recipients if r.reply_class == "warm_up"]


def delivered(emails: list[Email]) -> int:
    return sum(r.status == "delivered" for email in emails for r in email.recipients)


async def test_mail_above_the_ceiling_waits_for_the_next_day_without_a_try(world: World) -> None:
    await write_domain(world.rig.store, sending_domain())
    async with world.rig.worker():
        emails = await world.settled(*await world.send(5, sender="me@news.example.com"))
        await check_invariants(world.rig.store)
    assert (delivered(emails), len(world.server.messages)) == (3, 3)
    recipients = put_off(emails)
    assert [(r.status, r.tries) for r in recipients] == [("deferred", 0)] * 2
    words = "warm-up of example.com: day 1, 3 of 3 to mx.one.example today"
    assert {r.status_reason for r in recipients} == {words}
    tomorrow = datetime.combine(utc_now() + timedelta(days=1), datetime.min.time(), UTC)
    for email in emails:
        if email.not_before:
            assert timedelta(0) <= email.not_before - tomorrow < timedelta(minutes=1)
            assert email.tries == 0
    assert await world.used("example.com") == DayCount(3, 2)


async def test_workers_share_a_ceiling_and_never_exceed_it(world: World) -> None:
    await write_domain(world.rig.store, sending_domain())
    async with world.rig.worker(warm_up_table=(20,)), world.rig.worker(warm_up_table=(20,)):
        emails = await world.settled(*await world.send(40))
    assert delivered(emails) == len(world.server.messages) <= 20
    assert await world.used("example.com") == DayCount(
        delivered(emails), len(emails) - delivered(emails)
    )


async def test_mail_above_an_address_ceiling_goes_from_an_older_address(world: World) -> None:
    began = {OLD: YEAR_AGO}
    async with world.rig.worker(source_addresses=(OLD, NEW), warm_up_began=began):
        ids = [
            await world.rig.send("ann@one.example", sender=f"u{n}@example.com") for n in range(16)
        ]
        emails = await world.settled(*ids)
    assert delivered(emails) == 16
    assert Counter(message.peer for message in world.server.messages) == {NEW: 3, OLD: 13}
    assert await world.used(NEW) == DayCount(3, 0)
    assert await world.used(OLD) == DayCount(), "a warm one is not counted"


async def test_mail_waits_where_no_older_address_is_left(world: World) -> None:
    async with world.rig.worker(source_addresses=(OLD, NEW), warm_up="addresses"):
        ids = [
            await world.rig.send("ann@one.example", sender=f"u{n}@example.com") for n in range(9)
        ]
        emails = await world.settled(*ids)
    peers = Counter(message.peer for message in world.server.messages)
    assert peers == {OLD: 3, NEW: 3} and delivered(emails) == 6
    assert all("warm-up of 127.0.0." in (r.status_reason or "") for r in put_off(emails))


async def test_refused_recipients_do_not_count(world: World) -> None:
    await write_domain(world.rig.store, sending_domain())
    world.server.rcpt = dict.fromkeys(
        ("r0@one.example", "r1@one.example"), "550 5.7.1 Not this one"
    )
    async with world.rig.worker():
        first = await world.settled(*await world.send(2))
        assert [r.status for email in first for r in email.recipients] == ["bounced"] * 2
        world.server.rcpt.clear()
        assert delivered(await world.settled(*await world.send(4))) == 3
    assert await world.used("example.com") == DayCount(3, 1)


@pytest.mark.parametrize("in_copies", [False, True])
async def test_email_to_more_recipients_than_the_ceiling_goes_to_the_first_ones(
    world: World, in_copies: bool
) -> None:
    """In one transaction, or in copies: each recipient has a return path then."""
    record = DnsRecord("return_path", "MX", "bounces.example.com", "mx", status="verified")
    verified = Verified(utc_now(), "verified", (record,)) if in_copies else None
    await write_domain(world.rig.store, sending_domain(verified=verified))
    async with world.rig.worker():
        email_id = await world.rig.send(*(f"r{n}@one.example" for n in range(5)))
        [email] = await world.settled(email_id)
    assert [r.status for r in email.recipients] == ["delivered"] * 3 + ["deferred"] * 2
    assert [r.tries for r in email.recipients] == [1, 1, 1, 0, 0]
    assert len(put_off([email])) == 2
    assert len(world.server.messages) == (3 if in_copies else 1)


@pytest.mark.parametrize("taken_by_others", [False, True])
async def test_last_round_of_copies_puts_the_others_off_and_keeps_earlier_results(
    world: World, monkeypatch: pytest.MonkeyPatch, taken_by_others: bool
) -> None:
    monkeypatch.setattr(copies, "_MOST", 2)
    monkeypatch.setattr(copies, "_AT_ONCE", 1)
    real, calls = WarmUpParts.take, 0

    async def take(self: WarmUpParts, source: str, *arguments: Any) -> Granted:
        nonlocal calls
        calls += 1
        if calls > 1 and taken_by_others:
            return Granted(0, Full(source, 1, 5))
        return await real(self, source, *arguments)

    monkeypatch.setattr(WarmUpParts, "take", take)
    record = DnsRecord("return_path", "MX", "bounces.example.com", "mx", status="verified")
    verified = Verified(utc_now(), "verified", (record,))
    await write_domain(world.rig.store, sending_domain(verified=verified))
    world.server.rcpt["r0@one.example"] = "450 4.2.1 Not now"
    async with world.rig.worker(warm_up_table=(5,), retry_intervals=(3600.0,)):
        email_id = await world.rig.send(*(f"r{n}@one.example" for n in range(8)))
        [email] = await world.settled(email_id)
        await check_invariants(world.rig.store)
    sent = 1 if taken_by_others else 5  # one is given back
    first, *others = email.recipients
    assert (first.status, first.tries, first.status_code) == ("deferred", 1, 450)
    assert [r.status for r in others] == ["delivered"] * sent + ["deferred"] * (7 - sent)
    assert {r.reply_class for r in others[sent:]} == {"warm_up"}
    assert (await world.used("example.com")).put_off == 7 - sent
    said = Counter(
        reply.email
        for entry in await world.rig.log(email_id)
        for each in entry.attempts
        for reply in each.replies
    )
    assert set(said.values()) == {1}, "each recipient stands in the log of one round"


async def test_etcd_that_does_not_answer_about_a_ceiling_costs_no_try(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failed = warm_up_parts.take, False

    async def take(*args: Any, **fields: Any) -> Any:
        nonlocal failed
        if not failed:
            failed = True
            raise EtcdUnavailable("away for a moment")
        return await real(*args, **fields)

    monkeypatch.setattr(warm_up_parts, "take", take)
    await write_domain(world.rig.store, sending_domain())
    async with world.rig.worker():
        [email] = await world.rig.ended(*await world.send(1))
    assert failed and (email.status, email.tries) == ("complete", 1)
    assert len(world.server.messages) == 1


def test_worker_without_a_warm_up_keeps_no_counts(settings: Settings) -> None:
    on = {"default": "mx", "warm_up": "both"}
    relay = {"relay_url": "smtp://127.0.0.1:1", "warm_up": "both"}
    for given, has in ((on, True), (on | {"warm_up": "off"}, False), (relay, False)):
        assert (Worker(changed(settings, **given))._warm_ups is not None) == has


# --- without a worker ---


@asynccontextmanager
async def warm_ups(rig: Rig, **changes: Any) -> AsyncIterator[WarmUps]:
    plan = read_plan(
        changed(rig.settings, **{"warm_up": "both", "warm_up_table": (100,)} | changes)
    )
    assert plan is not None
    found = WarmUps(rig.store, plan, lambda: 1)
    running = [asyncio.create_task(found.parts.run())]
    rig.store.domains.ready.set()
    try:
        yield found
    finally:
        await cancel_all(*running)


def an_email() -> Email:
    return new_email(
        new_email_id(),
        client_id="client",
        sender="me@example.com",
        subject="hello",
        recipients=(Recipient("ann@one.example", "to", "mx:one.example"),),
        now=utc_now(),
    )


def destination(*sources: str) -> Destination:
    return Destination("mx:one.example", Site(SITE, None, None, False), "pool", 5, None, sources)


def taken_from(source: str) -> Outcome:
    reply = Reply("message", 250)
    server = Server("mx.one.example", 25, HOST, source)
    return Outcome({"ann@one.example": reply}, server=server)


async def test_try_does_not_hang_where_warm_ups_can_not_be_read(rig: Rig) -> None:
    plan = read_plan(changed(rig.settings, warm_up="addresses"))
    assert plan is not None
    async with Store(changed(rig.settings, etcd_timeout=0.1)) as store:
        found = WarmUps(store, plan, lambda: 1)  # nothing follows them, as without the right to it
        with pytest.raises(NotCounted, match="not read yet"):
            await found.reserve(an_email(), destination(NEW), "x", 1)


async def test_what_rests_goes_back_to_etcd(rig: Rig) -> None:
    async with warm_ups(rig) as found:
        reserved = await found.reserve(an_email(), destination(NEW), "x", 1)
        assert reserved is not None and reserved.reserved == {NEW: 1}
        reserved.note(taken_from(NEW))
        found.settle(reserved, 1)
        world = World(rig, MisbehavingServer())
        assert (await world.used(NEW)).taken == 50, "it takes more for those that follow"
        await found.parts.close()
        assert await world.used(NEW) == DayCount(1, 0)
        await found.parts.close()
        assert not found.parts._parts, "it is forgotten, too: sites may be very many"
        slow = await found.reserve(an_email(), destination(NEW), "x", 1)
        assert slow is not None
        await found.parts.close()
        await found.parts.close()
        found.settle(slow, 0)
        await found.parts.close()
        assert await world.used(NEW) == DayCount(1, 0), "also what comes back after that"


async def test_try_that_ends_on_the_next_day_takes_nothing_from_that_day(rig: Rig) -> None:
    async with warm_ups(rig) as found:
        assert await found.reserve(an_email(), destination(NEW), "x", 1)
        [part] = found.parts._parts.values()
        yesterday = part.day - timedelta(days=1)
        found.parts.put_off(NEW, SITE, yesterday, 1)
        found.parts.give_back(NEW, SITE, yesterday, 1)
        assert list(found.parts._parts.values()) == [part]
        assert (part.left, part.put_off) == (49, 0)


async def test_address_of_the_other_version_of_ip_gets_back_what_it_did_not_use(rig: Rig) -> None:
    async with warm_ups(rig) as found:
        reserved = await found.reserve(an_email(), destination(NEW, "::1"), "x", 1)
        assert reserved is not None and reserved.reserved == {NEW: 1, "::1": 1}
        reserved.note(taken_from(NEW))
        found.settle(reserved, 1)
        await found.parts.close()
    world = World(rig, MisbehavingServer())
    assert ((await world.used(NEW)).taken, (await world.used("::1")).taken) == (1, 0)


async def test_recipients_whose_address_of_ours_nobody_knows_count_for_each(rig: Rig) -> None:
    """The try was stopped while the server had the message."""
    async with warm_ups(rig) as found:
        reserved = await found.reserve(an_email(), destination(NEW, "::1"), "x", 1)
        assert reserved is not None
        found.settle(reserved, 1)
        await found.parts.close()
    world = World(rig, MisbehavingServer())
    assert ((await world.used(NEW)).taken, (await world.used("::1")).taken) == (1, 1)


async def test_narrowed_destination_shares_the_connections_of_that_address(rig: Rig) -> None:
    both = destination(OLD, NEW)
    async with warm_ups(rig, warm_up_table=(1,)) as found:
        for _ in range(2):  # each address has one
            first = await found.reserve(an_email(), both, "x", 1)
            assert first is not None and first.recipients == 1
        names = {both.pool_for(f"x{n}") for n in range(20)}
        assert first.destination.pool_for("x") in names
        full = await found.reserve(an_email(), both, "x", 1)
        assert full is not None and full.recipients == 0 and full.otherwise is not None
        assert full.otherwise.action == "put_off"


async def test_operator_who_skips_or_begins_again_is_heard_at_once(rig: Rig) -> None:
    one = destination(NEW)
    async with warm_ups(rig, warm_up_table=(2, 3)) as found:
        full = await found.reserve(an_email(), one, "x", 3)
        assert full is not None and full.recipients == 2
        await skip(rig.store, NEW, by="operator ops")
        await found.parts._sources.read()
        assert await found.reserve(an_email(), one, "x", 300) is None
        await begin_again(rig.store, NEW, by="operator ops")
        await found.parts._sources.read()
        again = await found.reserve(an_email(), one, "x", 1)
        assert again is not None and again.recipients == 0, "what it has sent today counts"
