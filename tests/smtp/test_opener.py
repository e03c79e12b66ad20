"""Which of a domain's hosts gets the message, within one try; over real sockets."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from babygun.routing.mx import LookupFailed, NoMailHost
from babygun.routing.server import Server
from babygun.smtp import (
    Envelope,
    KnownServers,
    NoConnection,
    Outcome,
    SmtpPool,
    opener,
    workarounds,
)
from tests.smtp.conftest import MESSAGE, TIMES, Certificates, Limits, refuses_ipv6, to_hosts, yes
from tests.smtp.scripted import Peer, ScriptedServer
from tests.support.etcd_server import free_ports
from tests.support.processes import no_more_descriptors
from tests.support.smtp_server import MisbehavingServer

Script = Callable[[Peer], Awaitable[None]]
NO_IPV6 = b"550 5.7.1 [2001:db8::1] does not meet IPv6 sending guidelines regarding PTR records\r\n"


def host(server: ScriptedServer | MisbehavingServer, **fields: Any) -> Server:
    """A test's server as a domain's host."""
    return Server(f"mx{server.port}.example.org", server.port, address=server.host, **fields)


def nobody(address: str = "127.0.0.1", port: int = 0) -> Server:
    """A host that nothing listens on."""
    return Server("nobody.example.org", port or free_ports(1)[0], address=address)


NewPool = Callable[..., SmtpPool]


@pytest.fixture
async def new_pool() -> AsyncIterator[NewPool]:
    """``new_pool(*servers, …)``: arguments of SmtpPool by name. They know the same of servers.

    ``hosts``: a list of servers, whose order the test changes later.
    """
    pools: list[SmtpPool] = []
    known = KnownServers()

    def make(*servers: Server, hosts: Sequence[Server] = (), **given: Any) -> SmtpPool:
        destination = dataclasses.replace(to_hosts(), hosts=hosts or servers)
        times = {**TIMES, "refuses_ipv6": refuses_ipv6, **given}
        pools.append(SmtpPool(destination, hostname="sender.example", known=known, **times))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.close()


async def send(pool: SmtpPool, *recipients: str) -> Outcome:
    envelope = Envelope("a@example.org", recipients or ("b@example.org",), lambda *_: MESSAGE)
    return await pool.deliver(envelope, may_send=yes)


def code(outcome: Outcome) -> int | None:
    [reply] = set(outcome.replies.values())
    return reply.code


def saying(*greeting: bytes) -> Script:
    """A server that says the first line as greeting, and the others to EHLO and HELO."""

    async def script(peer: Peer) -> None:
        peer.say(greeting[0])
        for line in greeting[1:]:
            await peer.reader.readline()
            peer.say(line)
        await peer.reader.read()

    return script


async def silent(peer: Peer) -> None:
    await peer.reader.read()


# --- from one host to the next ---


@pytest.mark.parametrize(
    "script",
    [
        saying(b"554 5.7.1 No mail from you\r\n"),
        saying(b"421 4.3.2 Not now\r\n"),
        saying(b"521 5.3.2 Takes no mail\r\n"),
        saying(b"220 here\r\n", b"550 no EHLO\r\n", b"550 no HELO\r\n"),
        saying(b"220 here\r\n", b"450 not now\r\n"),
    ],
    ids=["554", "421", "521", "EHLO and HELO", "EHLO"],
)
async def test_refused_session_goes_to_the_next_host_in_the_same_try(
    script: Script, new_pool: NewPool
) -> None:
    async with ScriptedServer(script) as first, MisbehavingServer() as second:
        outcome = await send(new_pool(host(first), host(second)))
        assert code(outcome) == 250 and first.connections == 1
        assert outcome.server == host(second)
        assert outcome.note == f"mx{second.port}.example.org[127.0.0.1]:{second.port}"


async def test_refused_connection_goes_to_the_next_host(new_pool: NewPool) -> None:
    async with MisbehavingServer() as second:
        assert code(await send(new_pool(nobody(), nobody(), host(second)))) == 250


async def test_silent_host_goes_to_the_next_one_after_its_timeout(
    new_pool: NewPool, limits: Limits
) -> None:
    async def silent(peer: Peer) -> None:
        limits.pass_soon()
        await peer.reader.read()

    async with ScriptedServer(silent) as first, MisbehavingServer() as second:
        pool = new_pool(host(first), host(second))
        assert code(await send(pool)) == 250 and first.connections == 1


async def test_server_that_failed_a_moment_ago_is_tried_last(new_pool: NewPool) -> None:
    async with (
        ScriptedServer(saying(b"554 no\r\n")) as first,
        MisbehavingServer() as second,
    ):
        pool = new_pool(host(first), host(second), idle=0)
        for _ in range(3):
            assert code(await send(pool)) == 250
        other = new_pool(host(first), host(second))  # of another domain with the same hosts
        assert code(await send(other)) == 250
        assert first.connections == 1 and second.sessions == 4
        await second.stop()
        assert code(await send(new_pool(host(first), host(second)))) == 554
        assert first.connections == 2


async def test_busy_host_is_tried_first_again(new_pool: NewPool) -> None:
    async with ScriptedServer(saying(b"421 busy\r\n")) as first, MisbehavingServer() as second:
        pool = new_pool(host(first), host(second), idle=0)
        for _ in range(2):
            assert code(await send(pool)) == 250
        assert first.connections == 2


async def test_whole_try_is_bounded_however_many_hosts_are_silent(new_pool: NewPool) -> None:
    async with ScriptedServer(silent) as first, ScriptedServer(silent) as last:
        many = [Server(f"mx{n}.example", first.port, address="127.0.0.1") for n in range(30)]
        outcome = await send(new_pool(*many, host(last), connect_timeout=0.05))
        assert code(outcome) is None and last.connections == 0


@pytest.mark.parametrize(
    ("replies", "recipients"),
    [
        (b"550 not you\r\n503 no\r\n503 no\r\n", 550),
        (b"250 ok\r\n550 nobody\r\n503 no\r\n", 550),
        (b"250 ok\r\n250 ok\r\n554 no data\r\n", 554),
    ],
    ids=["MAIL", "RCPT", "DATA"],
)
async def test_refused_command_never_goes_to_the_next_host(
    replies: bytes, recipients: int, new_pool: NewPool
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.hear("MAIL", "RCPT", "DATA")
        peer.say(replies)
        await peer.reader.read()

    async with ScriptedServer(script) as first, ScriptedServer(silent) as second:
        outcome = await send(new_pool(host(first), host(second)))
        assert code(outcome) == recipients and second.connections == 0


async def test_mail_refused_on_an_old_connection_goes_to_the_same_host_again(
    new_pool: NewPool,
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        if peer.number == 1:
            await peer.transaction()
        await peer.hear("MAIL", "RCPT", "DATA")
        peer.say(b"550 not you\r\n503 no\r\n503 no\r\n")
        await peer.reader.readline()

    async with ScriptedServer(script) as first, ScriptedServer(silent) as second:
        hosts = [host(first), host(second)]
        pool = new_pool(hosts=hosts)
        assert code(await send(pool)) == 250
        hosts.reverse()
        assert code(await send(pool)) == 550
        assert first.connections == 2 and second.connections == 0


async def test_session_that_only_puts_off_is_not_used_again(new_pool: NewPool) -> None:
    async with MisbehavingServer() as server:
        pool = new_pool(host(server))
        assert code(await send(pool, "grey@example.org")) == 450
        assert code(await send(pool, "b@example.org")) == 250
        assert code(await send(pool, "c@example.org")) == 250
        assert server.sessions == 2


# --- what is said when all have failed ---


async def test_all_failed_names_each_host_and_quotes_the_last(new_pool: NewPool) -> None:
    gone = nobody()
    async with ScriptedServer(saying(b"554 5.7.1 IP blocked\r\n")) as last:
        outcome = await send(new_pool(gone, host(last)))
    [reply] = outcome.replies.values()
    assert (reply.phase, reply.code, reply.text) == ("greeting", 554, "IP blocked")
    assert outcome.server is None
    assert outcome.note == (
        f"mx{last.port}.example.org[127.0.0.1]:{last.port}, others: "
        f"connecting to nobody.example.org[127.0.0.1]:{gone.port}: Connection refused"
    )


async def test_521_counts_only_where_each_host_says_it(new_pool: NewPool) -> None:
    says_521 = saying(b"521 5.3.2 takes no mail\r\n")
    async with ScriptedServer(says_521) as one, ScriptedServer(says_521) as two:
        assert code(await send(new_pool(host(one), host(two)))) == 521
        outcome = await send(new_pool(host(one), nobody(), host(two)))
        assert code(outcome) is None
        assert "521" in outcome.note


async def test_no_mail_host_and_failed_lookup_come_through_the_pool(new_pool: NewPool) -> None:
    for error in (NoMailHost("null MX", code=556, enhanced="5.1.10"), LookupFailed("SERVFAIL")):
        pool = SmtpPool(to_hosts(error=error), hostname="sender.example", **TIMES)
        for _ in range(2):
            with pytest.raises(type(error)):
                await send(pool)
        assert not pool.connections.needed
        await pool.close()


# --- our own faults ---


async def test_lack_of_descriptors_is_no_servers_fault(new_pool: NewPool) -> None:
    """Nobody is tried last for it, and no reply comes of it that would use up a try."""
    async with MisbehavingServer() as first, MisbehavingServer() as second:
        pool = new_pool(host(first), host(second))
        with no_more_descriptors(), pytest.raises(NoConnection, match="Too many open files"):
            await send(pool)
        assert (await send(pool)).server == host(first)


async def test_message_waits_for_another_connection_where_descriptors_lack(
    new_pool: NewPool,
) -> None:
    async with MisbehavingServer() as server:
        pool, released = new_pool(host(server)), server.hang_once("ann@example.org")
        hangs = asyncio.create_task(send(pool, "ann@example.org"))
        await server.hung.wait()
        with no_more_descriptors():
            waits = asyncio.create_task(send(pool, "bob@example.org"))
            released.set()
            assert code(await hangs) == code(await waits) == 250


# --- IPv6 ---


async def test_ipv6_that_does_not_answer_goes_by_ipv4_in_the_same_try(new_pool: NewPool) -> None:
    async with MisbehavingServer() as server:
        pool = new_pool(nobody("::1"), host(server))
        assert code(await send(pool)) == 250


def refusing(at: str) -> Script:
    """A server that refuses our IPv6 address at MAIL, RCPT, DATA or after the dot."""

    async def script(peer: Peer) -> None:
        if at == "greeting":
            peer.say(NO_IPV6)
            return
        await peer.greet()
        await peer.hear("MAIL", "RCPT", "DATA")
        place = ["MAIL", "RCPT", "DATA", "dot"].index(at)
        usual = [b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"]
        if place < 3:
            usual[place:] = [NO_IPV6] + [b"503 no\r\n"] * (2 - place)
        peer.say(b"".join(usual))
        if at == "dot":
            await peer.message()
            peer.say(NO_IPV6)
        await peer.reader.readline()  # QUIT

    return script


@pytest.mark.parametrize("at", ["greeting", "MAIL", "RCPT", "DATA", "dot"])
async def test_site_that_refuses_our_ipv6_address_gets_ipv4_in_the_same_try_and_later(
    at: str, new_pool: NewPool, caplog: pytest.LogCaptureFixture
) -> None:
    async with ScriptedServer(refusing(at), host="::1") as six, MisbehavingServer() as four:
        pool = new_pool(host(six), host(four), idle=0)
        with caplog.at_level(logging.ERROR, "babygun"):
            for _ in range(3):
                outcome = await send(pool)
                assert code(outcome) == 250 and outcome.server == host(four)
        assert six.connections == 1 and len(four.messages) == 3
        assert [record.message for record in caplog.records] == ["sending address refused"]


async def test_refused_ipv6_address_is_the_outcome_where_there_is_no_ipv4(
    new_pool: NewPool,
) -> None:
    async with ScriptedServer(refusing("MAIL"), host="::1") as six:
        pool = new_pool(host(six))
        assert code(await send(pool)) == 550
        assert six.connections <= 2


# --- source addresses ---


@pytest.mark.parametrize(("address", "source"), [("127.0.0.1", "127.0.0.77"), ("::1", "::1")])
async def test_connection_comes_from_the_source_address(
    address: str, source: str, new_pool: NewPool
) -> None:
    seen: list[str] = []

    async def script(peer: Peer) -> None:
        seen.append(peer.writer.get_extra_info("peername")[0])
        await peer.greet()
        await peer.transaction()

    async with ScriptedServer(script, host=address) as server:
        assert code(await send(new_pool(host(server, source=source)))) == 250
    assert seen == [source]


# --- TLS ---


async def test_broken_tls_goes_in_plain_text_in_the_same_try_and_is_remembered(
    new_pool: NewPool, certificates: Certificates
) -> None:
    async with MisbehavingServer(starttls=certificates.old_server) as server:
        pool = new_pool(host(server), idle=0)
        first, second = await send(pool), await send(pool)
        assert code(first) == code(second) == 250
        assert "sent in plain text, since TLS failed" in second.note
        assert server.sessions == 3  # TLS was tried once


@pytest.mark.parametrize(
    ("said", "then", "lasts"),
    [
        (b"220 go\r\n", b"", workarounds.REMEMBERED),
        (b"454 4.7.0 not now for ann@b.example\r\n", b"", workarounds.REMEMBERED),
        (b"220 go\r\n", b"this is no TLS\r\n", workarounds.REMEMBERED_TLS),
        (b"502 5.5.1 what?\r\n", b"", workarounds.REMEMBERED_TLS),
    ],
    ids=["cut off", "not now", "no TLS", "refused"],
)
async def test_tls_of_a_host_is_left_out_for_days_only_if_it_would_break_again(
    new_pool: NewPool, caplog: pytest.LogCaptureFixture, said: bytes, then: bytes, lasts: float
) -> None:
    async def script(peer: Peer) -> None:
        if peer.number == 1:
            await peer.greet(b"250-scripted.example\r\n250 STARTTLS\r\n")
            await peer.hear("STARTTLS")
            peer.say(said)
            await peer.reader.read(10)
            peer.say(then)
        else:
            await peer.greet()
            await peer.transaction()

    async with ScriptedServer(script) as server:
        pool, known = new_pool(host(server)), KnownServers()
        pool._opener._known = known
        outcome = await send(pool)
        assert code(outcome) == 250 and outcome.tls is not None and outcome.tls.connected
    found, now = known.workarounds.of(host(server).endpoint), asyncio.get_running_loop().time()
    assert found.why_not("tls", now + lasts - 60)
    assert not found.why_not("tls", now + lasts + 60)
    [line] = [each for each in caplog.records if each.message == "feature switched off"]
    assert "ann@" not in line.fields["reason"]  # type: ignore[attr-defined]


async def test_encrypted_mail_never_goes_in_plain_text(
    new_pool: NewPool, certificates: Certificates
) -> None:
    async with (
        MisbehavingServer() as without,
        MisbehavingServer(starttls=certificates.old_server) as broken,
        MisbehavingServer(starttls=certificates.other_server) as good,
    ):
        hosts = [host(each, tls="encrypted") for each in (without, broken, good)]
        assert code(await send(new_pool(*hosts[:2]))) is None
        assert not without.messages and not broken.messages
        assert code(await send(new_pool(*hosts))) == 250  # the certificate proves nothing here
        assert [message.tls for message in good.messages] == [True]


async def test_cancelled_walk_leaves_nothing_behind(new_pool: NewPool) -> None:
    begun = asyncio.Event()

    async def script(peer: Peer) -> None:
        begun.set()
        await peer.reader.read()

    async with ScriptedServer(script) as server:
        pool = new_pool(nobody(), host(server))
        sending = asyncio.create_task(send(pool))
        await begun.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert not pool.connections.needed


async def test_servers_without_end_are_not_all_tried_in_one_try(
    monkeypatch: pytest.MonkeyPatch, new_pool: NewPool
) -> None:
    monkeypatch.setattr(opener, "MOST_SERVERS", 2)
    async with MisbehavingServer() as server:
        pool = new_pool(nobody(), nobody(), host(server))
        assert code(await send(pool)) is None
        assert code(await send(pool)) == 250, "those that failed come last"
