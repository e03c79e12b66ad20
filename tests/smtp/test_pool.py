"""Connections: reused, limited, replaced when dead, closed when idle."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable

import pytest

from babygun.routing.destination import to_relay
from babygun.routing.server import Server
from babygun.smtp import Envelope, NotSent, SmtpPool
from babygun.smtp.replies import Reply
from tests.smtp.conftest import MESSAGE, TIMES, send, yes
from tests.smtp.scripted import Peer, ScriptedServer
from tests.support.processes import PATIENCE
from tests.support.smtp_server import MisbehavingServer

NewPool = Callable[..., SmtpPool]


async def settle(condition: Callable[[], bool]) -> None:
    """Until ``condition`` holds; the loop turns meanwhile."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 (conditions of several objects, each soon true)
            await asyncio.sleep(0.001)


async def test_connection_is_reused_across_messages(new_pool: NewPool) -> None:
    async with MisbehavingServer() as server:
        pool = new_pool(server.port)
        for n in range(20):
            await send(pool, f"r{n}@example.org")
        assert len(server.messages) == 20
        assert server.sessions == 1


async def test_connection_that_is_closed_is_freed_without_the_garbage_collector() -> None:
    async with MisbehavingServer() as server:
        destination = to_relay("default", Server("127.0.0.1", server.port))
        pool = SmtpPool(destination, hostname="client.example", **TIMES)
        gc.disable()
        try:
            await send(pool, "b@example.org")
            known = [weakref.ref(each) for each in pool.connections._idle]
            await pool.close()
            assert len(known) == 1
            await settle(lambda: known[0]() is None)
        finally:
            gc.enable()


async def test_hostname_beyond_ascii_is_said_in_ascii() -> None:
    said: list[str] = []

    async def script(peer: Peer) -> None:
        peer.say(b"220 scripted.example\r\n")
        said.extend(await peer.hear("EHLO"))
        await peer.reader.read()

    async with ScriptedServer(script) as server:
        destination = to_relay("default", Server("127.0.0.1", server.port))
        pool = SmtpPool(destination, hostname="faß.example", **TIMES)
        sending = asyncio.create_task(send(pool, "b@example.org"))
        await settle(lambda: bool(said))
        await pool.close()
        sending.cancel()
    assert said == ["EHLO xn--fa-hia.example"]


async def test_two_hundred_at_once_keep_to_the_limit(new_pool: NewPool) -> None:
    async with MisbehavingServer() as server:
        pool = new_pool(server.port, max_connections=7)
        sending = [
            asyncio.create_task(send(pool, f"r{n}@example.org", "hard@example.org"))
            for n in range(200)
        ]
        await server.wait_for(1)
        assert pool.connections.open <= 7
        assert pool.connections.waiting > 0
        for n, replies in enumerate(await asyncio.gather(*sending)):
            assert (replies[f"r{n}@example.org"].code, replies["hard@example.org"].code) == (
                250,
                550,
            )
        assert sorted(message.recipients[0] for message in server.messages) == sorted(
            f"r{n}@example.org" for n in range(200)
        )
        assert server.max_concurrent == server.sessions == 7
        assert (pool.connections.open, pool.connections.in_use, pool.connections.waiting) == (
            7,
            0,
            0,
        )


async def test_waiters_are_served_in_order(new_pool: NewPool) -> None:
    async with MisbehavingServer() as server:
        pool = new_pool(server.port, max_connections=1)
        await asyncio.gather(*(send(pool, f"r{n}@example.org") for n in range(10)))
        assert [message.recipients[0] for message in server.messages] == [
            f"r{n}@example.org" for n in range(10)
        ]


async def test_one_that_hangs_holds_up_no_other(new_pool: NewPool) -> None:
    async with MisbehavingServer() as server:
        pool = new_pool(server.port, max_connections=2)
        hanging = asyncio.create_task(send(pool, "hang@example.org"))
        await server.hung.wait()
        for n in range(5):
            await send(pool, f"r{n}@example.org")
        assert pool.connections.in_use == 1
        server.release()
        assert (await hanging)["hang@example.org"].code == 250


async def test_dead_idle_connection_is_noticed_and_replaced(new_pool: NewPool) -> None:
    async with MisbehavingServer() as server:
        pool = new_pool(server.port)
        await send(pool, "a@example.org")
        await server.cut()
        await settle(lambda: pool.connections.open == 0)
        assert (await send(pool, "b@example.org"))["b@example.org"].code == 250
        assert server.sessions == 2


async def test_connection_that_dies_as_it_is_reused_does_not_fail_the_message(
    new_pool: NewPool,
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.transaction()
        if peer.number == 1:
            await peer.hear("MAIL")  # and hangs up

    async with ScriptedServer(script) as server:
        pool = new_pool(server.port)
        await send(pool, "a@example.org")
        assert (await send(pool, "b@example.org"))["b@example.org"].code == 250
        assert server.connections == 2


async def test_one_fresh_connection_does_where_all_idle_ones_are_dead(new_pool: NewPool) -> None:
    dead = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.transaction()
        if peer.number <= 8:
            everybody.add(peer.number)
            await peer.hear("MAIL")  # and hangs up
        else:
            dead.set()

    everybody: set[int] = set()
    async with ScriptedServer(script) as server:
        pool = new_pool(server.port)
        await asyncio.gather(*(send(pool, f"r{n}@example.org") for n in range(8)))
        await settle(lambda: len(everybody) == 8)
        assert (await send(pool, "b@example.org"))["b@example.org"].code == 250
        assert dead.is_set()
        assert server.connections == 9
        assert pool.connections.open <= 8  # the other dead ones are found out as they are used


async def test_waiter_gets_the_place_of_a_connection_that_is_lost(new_pool: NewPool) -> None:
    async with MisbehavingServer() as server:
        pool = new_pool(server.port, max_connections=1, connect_timeout=60)
        async with asyncio.timeout(20):
            replies = await asyncio.gather(
                *(
                    send(pool, f"{name}@example.org")
                    for name in ("drop-data1", "drop-dot2", "drop-data3", "good")
                )
            )
        assert replies[3]["good@example.org"].code == 250
        assert server.max_concurrent == 1


async def test_421_in_reply_to_mail_on_a_reused_connection_leads_to_a_fresh_one(
    new_pool: NewPool,
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.transaction()
        if peer.number == 1:
            await peer.hear("MAIL")
            peer.say(b"421 4.7.0 Enough messages for one connection\r\n")
            await peer.reader.read()

    async with ScriptedServer(script) as server:
        pool = new_pool(server.port)
        await send(pool, "a@example.org")
        assert (await send(pool, "b@example.org"))["b@example.org"].code == 250
        assert server.connections == 2


async def test_reused_connection_that_answered_before_it_died_counts_as_a_failure(
    new_pool: NewPool,
) -> None:
    async with MisbehavingServer() as server:
        pool = new_pool(server.port)
        await send(pool, "a@example.org")
        assert (await send(pool, "drop-data@example.org"))["drop-data@example.org"].phase == "data"
        assert server.attempts["drop-data@example.org"] == 1


async def test_reused_connection_lost_after_the_dot_is_not_tried_again(new_pool: NewPool) -> None:
    async with MisbehavingServer() as server:
        pool = new_pool(server.port)
        await send(pool, "a@example.org")
        assert (await send(pool, "drop-dot@example.org"))["drop-dot@example.org"].uncertain
        assert len(server.to("drop-dot@example.org")) == 1


async def test_dead_connection_and_a_relay_that_is_gone_fail_in_connect(new_pool: NewPool) -> None:
    server = MisbehavingServer()
    await server.start()
    pool = new_pool(server.port)
    await send(pool, "a@example.org")
    await server.stop()
    reply = (await send(pool, "b@example.org"))["b@example.org"]
    assert (reply.phase, reply.code) == ("connect", None)
    assert "refused" in reply.text
    await server.start()
    assert (await send(pool, "b@example.org"))["b@example.org"].code == 250
    await server.stop()


async def test_421_pushed_while_idle_closes_the_connection(new_pool: NewPool) -> None:
    async with MisbehavingServer() as server:
        pool = new_pool(server.port)
        await send(pool, "a@example.org")
        server.say("421 4.4.2 Idle for too long")  # and leaves the connection open
        await settle(lambda: pool.connections.open == 0)
        assert (await send(pool, "b@example.org"))["b@example.org"].code == 250
        assert server.sessions == 2


async def test_idle_connection_is_closed_politely_in_time(new_pool: NewPool) -> None:
    async with MisbehavingServer() as server:
        pool = new_pool(server.port, idle=0.1)
        await asyncio.gather(*(send(pool, f"r{n}@example.org") for n in range(3)))
        assert server.sessions == 3
        await settle(lambda: pool.connections.open == 0 and server.connections == 0)
        assert server.commands["QUIT"] == 3


async def test_idle_connections_beyond_the_first_go_soon(
    new_pool: NewPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babygun.smtp.idle_connections.SURPLUS_IDLE", 0.05)
    async with MisbehavingServer() as server:
        pool = new_pool(server.port)
        await asyncio.gather(*(send(pool, f"r{n}@example.org") for n in range(3)))
        await settle(lambda: server.commands["QUIT"] == 2)
        assert pool.connections.open == 1
        await send(pool, "next@example.org")
        assert server.sessions == 3


def test_messages_that_end_at_once_on_uvloop_are_delivered_though_a_timer_is_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("babygun.smtp.idle_connections.SURPLUS_IDLE", 0.0)
    new_event_loop = pytest.importorskip("uvloop").new_event_loop

    async def deliver() -> None:
        async with MisbehavingServer() as server:
            pool = SmtpPool(
                to_relay("default", Server("127.0.0.1", server.port)), hostname="a.example", **TIMES
            )
            sending = [asyncio.create_task(send(pool, f"hang-{n}@example.org")) for n in range(4)]
            await server.hanging.reached(4)
            server.release()
            await asyncio.gather(*sending)
            await pool.close()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(deliver())


async def test_destination_that_is_crowded_gets_idle_connections_back_and_fewer_new_ones(
    new_pool: NewPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babygun.smtp.connection_limit.GROW", 3600.0)
    async with MisbehavingServer() as server:
        pool = new_pool(server.port, max_connections=5)
        await asyncio.gather(*(send(pool, f"r{n}@example.org") for n in range(5)))
        pool.crowded(Reply("greeting", 421, "4.7.0", "Too many connections"))
        await settle(lambda: server.commands["QUIT"] == 5)
        server.max_concurrent = 0
        await asyncio.gather(*(send(pool, f"r{n}@example.org") for n in range(5)))
        assert server.max_concurrent == 1


async def test_crowded_destination_turns_back_all_who_wait(new_pool: NewPool) -> None:
    full = Reply("greeting", 421, "4.7.0", "Too many connections")

    async def script(peer: Peer) -> None:
        await peer.reader.read()  # it does not greet

    async with ScriptedServer(script) as server:
        pool = new_pool(server.port, max_connections=1)
        first = asyncio.create_task(send(pool, "a@example.org"))
        waiting = asyncio.create_task(send(pool, "b@example.org"))
        await settle(lambda: pool.connections.waiting == 1)
        pool.crowded(full)
        assert await waiting == {"b@example.org": full}
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_idle_zero_keeps_no_connection(new_pool: NewPool) -> None:
    async with MisbehavingServer() as server:
        pool = new_pool(server.port, idle=0)
        await send(pool, "a@example.org")
        await settle(lambda: server.commands["QUIT"] == 1)
        assert pool.connections.open == 0


async def test_too_many_connections_shrinks_the_pool_and_fails_nothing(
    new_pool: NewPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babygun.smtp.connection_limit.GROW", 3600.0)
    async with MisbehavingServer(max_connections=3) as server:
        pool = new_pool(server.port, max_connections=10)
        replies = await asyncio.gather(*(send(pool, f"r{n}@example.org") for n in range(100)))
        assert {reply.code for answer in replies for reply in answer.values()} == {250}
        assert server.max_concurrent == 3
        refused = server.refused
        assert 1 <= refused <= 10
        await asyncio.gather(*(send(pool, f"r{n}@example.org") for n in range(100)))
        assert server.refused == refused  # it doesn't try again at once


async def test_shrunken_pool_grows_back_while_mail_waits(
    new_pool: NewPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babygun.smtp.connection_limit.GROW", 0.02)
    async with MisbehavingServer(max_connections=1) as server:
        pool = new_pool(server.port, max_connections=4)
        sending = [asyncio.create_task(send(pool, f"r{n}@example.org")) for n in range(1000)]
        await server.wait_for(20)
        assert server.max_concurrent == 1
        server.max_connections = 0
        await asyncio.gather(*sending)
        assert server.max_concurrent == 4


async def test_relay_that_comes_back_is_used_in_full_at_once(new_pool: NewPool) -> None:
    server = MisbehavingServer()
    await server.start()
    pool = new_pool(server.port, max_connections=6)
    await asyncio.gather(*(send(pool, f"r{n}@example.org") for n in range(50)))
    await server.stop()
    await settle(lambda: pool.connections.open == 0)
    await asyncio.gather(*(send(pool, f"r{n}@example.org") for n in range(50)))
    server.max_concurrent = 0
    await server.start()
    await asyncio.gather(*(send(pool, f"r{n}@example.org") for n in range(50)))
    assert server.max_concurrent == 6
    await server.stop()


async def test_relay_that_said_421_to_all_is_used_in_full_once_it_is_back(
    new_pool: NewPool,
) -> None:
    async with MisbehavingServer(max_connections=1) as server:
        other = new_pool(server.port)
        await send(other, "a@example.org")
        pool = new_pool(server.port, max_connections=5)
        await asyncio.gather(*(send(pool, f"r{n}@example.org") for n in range(20)))
        assert len(server.messages) == 1
        await other.close()
        await settle(lambda: server.connections == 0)
        server.max_connections = 0
        await asyncio.gather(*(send(pool, f"r{n}@example.org") for n in range(50)))
        assert server.max_concurrent == 5


async def test_relay_that_says_421_to_all_fails_each_once_and_soon(new_pool: NewPool) -> None:
    connections = 0

    async def script(peer: Peer) -> None:
        nonlocal connections
        connections += 1
        peer.say(b"421 4.3.2 Down for maintenance\r\n")

    async with ScriptedServer(script) as server:
        pool = new_pool(server.port, max_connections=10, connect_timeout=60)
        async with asyncio.timeout(20):
            replies = await asyncio.gather(*(send(pool, f"r{n}@example.org") for n in range(50)))
        assert {reply.code for answer in replies for reply in answer.values()} == {421}
        assert connections <= 2 * 50
        assert (
            pool.connections.open,
            pool.connections.in_use,
            pool.connections.waiting,
            pool.connections._connecting,
        ) == (0, 0, 0, 0)


async def test_too_many_connections_that_never_become_fewer_fail_in_time(new_pool: NewPool) -> None:
    async with MisbehavingServer(max_connections=1) as server:
        pool = new_pool(server.port, max_connections=2)
        pool.connections._patience = 0.5
        hanging = asyncio.create_task(send(pool, "hang@example.org"))
        await server.hung.wait()
        reply = (await send(pool, "b@example.org"))["b@example.org"]
        assert reply == Reply("greeting", 421, "4.7.0", "Too many connections")
        assert pool.connections.waiting == 0
        server.release()
        assert (await hanging)["hang@example.org"].code == 250


async def test_only_connection_refused_fails_at_once(new_pool: NewPool) -> None:
    async with MisbehavingServer(max_connections=1) as server:
        await send(other := new_pool(server.port), "a@example.org")
        pool = new_pool(server.port, connect_timeout=60)
        async with asyncio.timeout(20):
            assert (await send(pool, "b@example.org"))["b@example.org"].code == 421
        assert other.connections.open == 1


async def test_relay_that_is_not_there_fails_all_who_wait(new_pool: NewPool) -> None:
    server = MisbehavingServer()
    await server.start()
    await server.stop()
    pool = new_pool(server.port, max_connections=2, connect_timeout=60)
    async with asyncio.timeout(20):
        replies = await asyncio.gather(*(send(pool, f"r{n}@example.org") for n in range(20)))
    assert {(reply.phase, reply.code) for answer in replies for reply in answer.values()} == {
        ("connect", None)
    }
    assert (pool.connections.open, pool.connections.in_use, pool.connections.waiting) == (0, 0, 0)


async def test_relay_that_does_not_greet_fails_within_the_connect_timeout(
    new_pool: NewPool,
) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.read()

    async with ScriptedServer(script) as server:
        reply = (await send(new_pool(server.port, connect_timeout=0.2), "b@example.org"))[
            "b@example.org"
        ]
        assert (reply.phase, reply.code) == ("connect", None)
        assert "timed out after 0.2 s" in reply.text


async def test_cancelled_delivery_closes_its_connection(new_pool: NewPool) -> None:
    async with MisbehavingServer() as server:
        pool = new_pool(server.port)
        await send(pool, "a@example.org")
        sending = asyncio.create_task(send(pool, "hang@example.org"))
        await server.hung.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert (pool.connections.open, pool.connections.in_use) == (0, 0)
        await settle(lambda: server.connections == 0)
        assert (await send(pool, "b@example.org"))["b@example.org"].code == 250
        assert server.to("hang@example.org") == []


async def test_cancelled_waiter_leaves_the_line(new_pool: NewPool) -> None:
    async with MisbehavingServer() as server:
        pool = new_pool(server.port, max_connections=1)
        hanging = asyncio.create_task(send(pool, "hang@example.org"))
        await server.hung.wait()
        waiting = [asyncio.create_task(send(pool, f"r{n}@example.org")) for n in range(3)]
        await settle(lambda: pool.connections.waiting == 3)
        waiting[1].cancel()
        await settle(lambda: pool.connections.waiting == 2)
        server.release()
        await asyncio.gather(hanging, waiting[0], waiting[2])
        assert [message.recipients[0] for message in server.messages] == [
            "hang@example.org",
            "r0@example.org",
            "r2@example.org",
        ]


async def test_cancellations_at_any_moment_lose_no_connection(new_pool: NewPool) -> None:
    async with MisbehavingServer() as server:
        pool = new_pool(server.port, max_connections=3)
        for turns in range(60):
            tasks = [asyncio.create_task(send(pool, f"r{n}@example.org")) for n in range(8)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(
                isinstance(result, asyncio.CancelledError)
                or all(reply.code == 250 for reply in result.values())
                for result in results
            ), results  # type: ignore[union-attr]
            assert pool.connections.open <= 3
            assert (
                pool.connections.in_use,
                pool.connections.waiting,
                pool.connections._connecting,
            ) == (0, 0, 0)


async def test_close_says_goodbye_calls_off_waiters_and_cuts_the_rest(new_pool: NewPool) -> None:
    async with MisbehavingServer() as server:
        pool = new_pool(server.port, max_connections=2)
        await asyncio.gather(send(pool, "a@example.org"), send(pool, "b@example.org"))
        hanging = asyncio.create_task(send(pool, "hang@example.org"))
        await server.hung.wait()
        await pool.close()
        reply = (await hanging)["hang@example.org"]
        assert reply.phase in ("mail", "rcpt")  # the reply to MAIL may have been under way
        assert (reply.code, reply.uncertain) == (None, False)
        assert server.commands["QUIT"] == 1
        await settle(lambda: server.connections == 0)
        with pytest.raises(NotSent):
            await pool.deliver(
                Envelope("a@example.org", ("c@example.org",), lambda eight_bit, smtputf8: MESSAGE),
                may_send=yes,
            )


async def test_close_with_waiters_raises_not_sent_in_them(new_pool: NewPool) -> None:
    async with MisbehavingServer() as server:
        pool = new_pool(server.port, max_connections=1)
        hanging = asyncio.create_task(send(pool, "hang@example.org"))
        await server.hung.wait()
        waiting = asyncio.create_task(send(pool, "b@example.org"))
        await settle(lambda: pool.connections.waiting == 1)
        await pool.close()
        with pytest.raises(NotSent):
            await waiting
        await hanging


async def test_close_while_connecting_leaves_no_connection(new_pool: NewPool) -> None:
    greeted, go_on = asyncio.Event(), asyncio.Event()
    heard: list[bytes] = []

    async def script(peer: Peer) -> None:
        peer.say(b"220 scripted.example\r\n")
        await peer.hear("EHLO")
        greeted.set()
        await go_on.wait()
        peer.say(b"250 scripted.example\r\n")
        heard.append(await peer.reader.readline())
        peer.say(b"221 bye\r\n")

    async with ScriptedServer(script) as server:
        pool = new_pool(server.port)
        sending = asyncio.create_task(send(pool, "b@example.org"))
        await greeted.wait()
        await pool.close()
        go_on.set()
        with pytest.raises(NotSent):
            await sending
        await settle(lambda: heard == [b"QUIT\r\n"])
        assert pool.connections.open == 0


async def test_close_is_bounded_with_a_relay_that_does_not_say_goodbye(
    new_pool: NewPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babygun.smtp.connection.QUIT_TIMEOUT", 0.1)

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.transaction()
        await peer.hear("QUIT")
        await peer.reader.read()

    async with ScriptedServer(script) as server:
        pool = new_pool(server.port)
        await send(pool, "a@example.org")
        async with asyncio.timeout(20):
            await pool.close()
        assert pool.connections.open == 0
