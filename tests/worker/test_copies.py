"""E-mails with links to unsubscribe: a copy, a transaction and a result for each recipient."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from babygun.email.model import Attachment
from babygun.runtime.settings import Settings
from babygun.smtp import idle_connections
from babygun.store.sites import holds as store_holds
from babygun.store.unsubscribe.keys import UnsubscribeKeys
from babygun.store.unsubscribe.tokens import Subscription
from babygun.worker import Worker, copies
from tests.support.invariants import check_invariants
from tests.support.news import parsed, send_news, subscriptions, token_of
from tests.support.processes import PATIENCE
from tests.support.rig import LONG_LEASE, Rig, quick, rig_for
from tests.support.smtp_server import HANG_UP, MisbehavingServer
from tests.support.tries import make_due_now


@pytest.fixture
def patient_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that rest stay open, though the machine may stand still for seconds."""
    monkeypatch.setattr(idle_connections, "SURPLUS_IDLE", 60.0)


async def test_each_recipient_gets_a_copy_with_a_link_of_its_own(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    people = [f"r{n}@example.org" for n in range(12)]
    async with rig.worker():
        email_id = await send_news(rig, *people, subject="News", body="Grüße\n")
        [email] = await rig.ended(email_id)
        await check_invariants(rig.store)
    assert (email.status, email.tries) == ("complete", 1)
    assert Counter(m.recipients for m in smtp.messages) == {(person,): 1 for person in people}
    assert await subscriptions(rig, smtp.messages) == {
        person: Subscription("client", "news", person) for person in people
    }
    seen = set()
    for message in smtp.messages:
        one = parsed(message)
        assert one["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert one["Subject"] == "News" and one.get_content().strip() == "Grüße"
        seen.add(message.data.replace(token_of(message).encode(), b""))
    assert len(seen) == 1, "copies differ in their tokens only"
    assert await rig.events(email_id) == ["accepted", "delivered"]


async def test_blind_recipient_stands_in_no_copy_and_its_own_link_in_its_own_only(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    async with rig.worker():
        await rig.ended(
            await send_news(
                rig, "ann@example.org", "secret@example.org", shown=("ann@example.org",)
            )
        )
    [own] = smtp.to("secret@example.org")
    [other] = smtp.to("ann@example.org")
    for message in (own, other):
        assert b"secret" not in message.data and b"To: ann@example.org\r\n" in message.data
    assert token_of(own) != token_of(other)


async def test_refused_recipients_are_tried_again_alone_with_the_same_bytes(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    smtp.message["twice@example.org"] = lambda attempt: HANG_UP if attempt == 1 else ""
    async with rig.worker():
        email_id = await send_news(
            rig, "ann@example.org", "hard@example.org", "flaky-1@example.org", "bob@example.org"
        )
        again = await send_news(rig, "twice@example.org")
        email, uncertain = await rig.ended(email_id, again)
    assert {r.email: (r.status, r.tries) for r in email.recipients} == {
        "ann@example.org": ("delivered", 1),
        "hard@example.org": ("bounced", 1),
        "flaky-1@example.org": ("delivered", 2),
        "bob@example.org": ("delivered", 1),
    }
    assert smtp.attempts["ann@example.org"] == smtp.attempts["hard@example.org"] == 1
    assert uncertain.status == "complete"
    first, second = smtp.to("twice@example.org")
    assert first.data == second.data


async def test_copies_of_one_try_go_several_at_a_time_over_connections_that_stay(
    rig: Rig, smtp: MisbehavingServer, patient_connections: None
) -> None:
    people = ["ann@example.org", *(f"hang{n}@example.org" for n in range(20))]
    async with rig.worker():
        email_id = await send_news(rig, *people)
        await smtp.hanging.reached(8)
        assert smtp.max_transactions == 8
        smtp.release()
        await rig.ended(email_id)
    assert len(smtp.messages) == 21 and smtp.sessions == 8


async def test_large_copies_go_one_after_the_other(rig: Rig, smtp: MisbehavingServer) -> None:
    file = Attachment("a.bin", "application/octet-stream", bytes(5_000_000))
    people = [f"r{n}@example.org" for n in range(3)]
    async with rig.worker():
        [email] = await rig.ended(await send_news(rig, *people, attachments=(file,)))
    assert email.status == "complete"
    assert (len(smtp.messages), smtp.max_transactions, smtp.sessions) == (3, 1, 1)


@pytest.mark.parametrize("offered", [{"chunking": True}, {}, {"pipelining": False}])
async def test_thousand_recipients_get_one_copy_each_in_rounds_of_one_try(
    rig: Rig, offered: dict[str, bool], patient_connections: None
) -> None:
    people = [f"r{n}@example.org" for n in range(1000 if not offered else 150)]
    async with MisbehavingServer(**offered) as server:  # type: ignore[arg-type]
        async with rig.worker(relays={"main": {"url": server.url}}):
            email_id = await send_news(rig, *people)
            [email] = await rig.ended(email_id)
            await check_invariants(rig.store)
        assert Counter(m.recipients for m in server.messages) == {(one,): 1 for one in people}
        assert len({token_of(message) for message in server.messages}) == len(people)
        assert server.sessions <= 8
    assert (email.status, {r.tries for r in email.recipients}) == ("complete", {1})
    log = await rig.log(email_id)
    attempts = [attempt for entry in log[1:] for attempt in entry.attempts]
    assert {attempt.attempt for attempt in attempts} == {1}
    assert all(len(attempt.replies) <= 108 for attempt in attempts)
    written = Counter(reply.email for attempt in attempts for reply in attempt.replies)
    assert written == dict.fromkeys(people, 1)


async def test_refusal_of_the_session_meets_all_recipients_with_one_connection(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    await smtp.stop()
    async with rig.worker(retry_intervals=(3600.0,)):
        email_id = await send_news(rig, *(f"r{n}@example.org" for n in range(150)))
        entry = await rig.logged(email_id, "deferred")
        assert len(entry.attempts[0].replies) == 150
        assert {reply.reply_class for reply in entry.attempts[0].replies} == {"network"}
        await smtp.start()
        await make_due_now(rig.store, email_id, "main")
        [email] = await rig.ended(email_id)
    assert email.status == "complete" and {r.tries for r in email.recipients} == {2}


async def test_refusal_of_the_sender_stops_further_copies(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    smtp.mail["me@example.com"] = "550 5.7.1 Sender rejected"
    async with rig.worker():
        [email] = await rig.ended(await send_news(rig, *(f"r{n}@example.org" for n in range(30))))
    assert (email.status, {r.status for r in email.recipients}) == ("failed", {"bounced"})
    assert smtp.sessions <= 2, "one connection, and one that is not about the connection"


async def test_connection_that_breaks_within_a_copy_defers_those_that_wait(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    smtp.message["r0@example.org"] = lambda attempt: HANG_UP if attempt == 1 else ""
    people = [f"r{n}@example.org" for n in range(10)]
    async with rig.worker():
        email_id = await send_news(rig, *people)
        entry = await rig.logged(email_id, "deferred")
        classes = Counter(reply.reply_class for reply in entry.attempts[0].replies)
        assert classes == {"uncertain": 1, "network": 9}
        [email] = await rig.ended(email_id)
    assert email.status == "complete"
    assert Counter(m.recipients[0] for m in smtp.messages) == Counter(people) + Counter(people[:1])


async def test_worker_that_dies_between_copies_doubles_no_more_than_the_round_under_way(
    rig: Rig, smtp: MisbehavingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [f"r{n}@example.org" for n in range(130)]
    smtp.rcpt["r120@example.org"] = _hang_first(smtp)
    async with rig.worker_process(lease_ttl=LONG_LEASE) as first:
        email_id = await send_news(rig, *people)
        async with asyncio.timeout(PATIENCE):
            await smtp.hung.wait()
        await rig.logged(email_id, "delivered")  # the first round
        done = [r.email for r in (await rig.get(email_id)).recipients if r.final]
        first.kill()
        await rig.bury(first)
    async with rig.worker():
        [email] = await rig.ended(email_id)
        await check_invariants(rig.store)
    assert email.status == "complete"
    got = Counter(message.recipients[0] for message in smtp.messages)
    assert set(got) == set(people)
    assert len(done) >= 100 and all(got[one] == 1 for one in done)
    assert max(got.values()) <= 2


def _hang_first(smtp: MisbehavingServer):  # type: ignore[no-untyped-def]
    async def answer(attempt: int) -> str:
        if attempt == 1:
            smtp.hung.set()
            await asyncio.Event().wait()
        return ""

    return answer


async def test_worker_that_stops_between_copies_writes_what_is_done_and_gives_back_the_rest(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    people = ["ann@example.org", "hang@example.org", "bob@example.org"]
    async with rig.worker(drain_timeout=0.5) as worker:
        email_id = await send_news(rig, *people)
        await smtp.hanging.reached(1)
        await smtp.wait_for(2)
        await has_an_idle_connection(worker)  # it has got bob's reply, too
    email = await rig.get(email_id)
    assert {r.email: (r.status, r.tries) for r in email.recipients} == {
        "ann@example.org": ("delivered", 1),
        "hang@example.org": ("pending", 0),
        "bob@example.org": ("delivered", 1),
    }
    smtp.release()
    async with rig.worker():
        await rig.ended(email_id)
    assert Counter(m.recipients[0] for m in smtp.messages) == dict.fromkeys(people, 1)


async def has_an_idle_connection(worker: Worker) -> None:
    async with asyncio.timeout(PATIENCE):
        while not any(  # noqa: ASYNC110 (it has no signal)
            pool.connections.open > pool.connections.in_use for pool in worker._delivery.pools
        ):
            await asyncio.sleep(0.01)


async def test_round_ends_after_its_time_and_the_next_goes_on(
    rig: Rig, smtp: MisbehavingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "_SECONDS", 0.0)
    async with rig.worker():
        email_id = await send_news(rig, *(f"r{n}@example.org" for n in range(4)))
        [email] = await rig.ended(email_id)
    assert email.status == "complete" and len(smtp.messages) == 4
    assert await rig.events(email_id) == ["accepted", *["delivered"] * 4]


async def test_links_of_an_email_whose_key_is_gone_are_made_under_the_present_one(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    email_id = await send_news(rig, "ann@example.org")
    kid = (await UnsubscribeKeys(rig.store).current()).kid
    await rig.store.client.delete(rig.store.keys.unsubscribe_key(kid))
    async with rig.worker():
        await rig.ended(email_id)
    assert await subscriptions(rig, smtp.messages) == {
        "ann@example.org": Subscription("client", "news", "ann@example.org")
    }


async def test_refused_login_holds_all_copies_and_each_goes_once_it_is_repaired(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_holds, "PROBE_WAITS", (0.2,))
    people = [f"r{n}@example.org" for n in range(20)]
    async with MisbehavingServer(credentials=("me", "secret")) as server:
        relays = {"main": {"url": server.url, "max_connections": 10}}
        server.credentials = ("me", "another")
        async with rig_for(quick(settings, relays)) as rig, rig.worker():
            email_id = await send_news(rig, *people)
            entry = await rig.logged(email_id, "held")
            assert len(entry.attempts[0].replies) == 20
            server.credentials = ("me", "secret")
            [email] = await rig.ended(email_id)
            await check_invariants(rig.store)
    assert (email.status, {r.tries for r in email.recipients}) == ("complete", {1})
    assert Counter(m.recipients[0] for m in server.messages) == dict.fromkeys(people, 1)


async def test_server_with_too_many_connections_uses_up_no_try(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    smtp.max_connections = 1
    others = await asyncio.gather(*(rig.send(f"slow{n}@example.org") for n in range(3)))
    async with rig.worker():
        email_id = await send_news(rig, *(f"r{n}@example.org" for n in range(20)))
        ended = await rig.ended(email_id, *others)
    assert {email.status for email in ended} == {"complete"}
    assert {r.tries for r in ended[0].recipients} == {1}
    assert len(smtp.messages) == 23


async def test_ordinary_email_to_many_is_one_transaction_without_the_headers(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    async with rig.worker():
        await rig.ended(await rig.send(*(f"r{n}@example.org" for n in range(50))))
    [message] = smtp.messages
    assert len(message.recipients) == 50 and parsed(message)["List-Unsubscribe"] is None
