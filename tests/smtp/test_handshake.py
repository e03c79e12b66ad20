"""TLS policies, logins, and the takeover of the transport, on asyncio's loop and on uvloop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from babygun.routing.destination import to_relay
from babygun.routing.server import Server
from babygun.smtp import ConnectFailed, SmtpPool, check_server, connection, handshake
from tests.smtp.conftest import TIMES, Certificates, send
from tests.smtp.scripted import Peer, ScriptedServer
from tests.support.processes import PATIENCE
from tests.support.smtp_server import MisbehavingServer

NewPool = Callable[..., SmtpPool]
LOGIN = ("relay-user", "s3cret: ü")


@pytest.mark.parametrize("tls", ["opportunistic", "required", "implicit"])
async def test_message_goes_through_tls(
    new_pool: NewPool, certificates: Certificates, tls: str
) -> None:
    given = {"implicit_tls" if tls == "implicit" else "starttls": certificates.server}
    message = b"Subject: x\r\n\r\n" + (b"y" * 70 + b"\r\n") * 20_000
    async with MisbehavingServer(**given) as server:
        pool = new_pool(server.port, tls=tls, tls_ca=certificates.ca)
        for _ in range(3):
            assert (await send(pool, "b@example.org", "hard@example.org", message=message))[
                "b@example.org"
            ].code == 250
        assert [m.tls for m in server.messages] == [True] * 3
        assert server.messages[2].data == message
        assert server.sessions == 1
        await pool.close()
        assert server.commands["QUIT"] == 1


@pytest.mark.parametrize("tls", ["opportunistic", "implicit"])
async def test_connection_with_tls_is_cut_like_any_other(
    new_pool: NewPool, certificates: Certificates, tls: str
) -> None:
    given = {"implicit_tls" if tls == "implicit" else "starttls": certificates.server}
    async with MisbehavingServer(**given) as server:
        pool = new_pool(server.port, tls=tls, tls_ca=certificates.ca)
        assert (await send(pool, "drop-dot@example.org"))["drop-dot@example.org"].uncertain
        assert (await send(pool, "drop-data@example.org"))["drop-data@example.org"].phase == "data"
        sending = asyncio.create_task(send(pool, "hang@example.org"))
        await server.hung.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert pool.connections.open == 0
        await send(pool, "a@example.org")
        await server.cut()
        assert (await send(pool, "b@example.org"))["b@example.org"].code == 250


@pytest.mark.parametrize("tls", ["required", "implicit"])
async def test_certificate_of_an_unknown_ca_is_refused(
    new_pool: NewPool, certificates: Certificates, tls: str
) -> None:
    given = {"implicit_tls" if tls == "implicit" else "starttls": certificates.server}
    async with MisbehavingServer(**given) as server:
        reply = (await send(new_pool(server.port, tls=tls), "b@example.org"))["b@example.org"]
        assert (reply.phase, reply.code) == ("tls", None)
        assert "TLS handshake failed" in reply.text
        assert "unable to get local issuer" in reply.text
        assert server.messages == []


@pytest.mark.parametrize("tls", ["required", "implicit"])
async def test_certificate_for_another_name_is_refused(
    new_pool: NewPool, certificates: Certificates, tls: str
) -> None:
    given = {"implicit_tls" if tls == "implicit" else "starttls": certificates.other_server}
    async with MisbehavingServer(**given) as server:
        reply = (
            await send(new_pool(server.port, tls=tls, tls_ca=certificates.ca), "b@example.org")
        )["b@example.org"]
        assert (reply.phase, reply.code) == ("tls", None)
        assert "TLS handshake failed" in reply.text
        assert "127.0.0.1" in reply.text
        assert server.messages == []


async def test_unknown_ca_is_taken_where_tls_is_opportunistic(
    new_pool: NewPool, certificates: Certificates
) -> None:
    async with MisbehavingServer(starttls=certificates.server) as server:
        await send(new_pool(server.port), "b@example.org")
        assert server.messages[0].tls


async def test_tls_none_uses_no_starttls(new_pool: NewPool, certificates: Certificates) -> None:
    async with MisbehavingServer(starttls=certificates.server) as server:
        await send(new_pool(server.port, tls="none"), "b@example.org")
        assert not server.messages[0].tls


async def test_starttls_required_but_not_offered_sends_nothing(new_pool: NewPool) -> None:
    async with MisbehavingServer() as server:
        reply = (await send(new_pool(server.port, tls="required"), "b@example.org"))[
            "b@example.org"
        ]
        assert (reply.phase, reply.code) == ("tls", None)
        assert "STARTTLS" in reply.text
        assert server.messages == []


async def test_handshake_cut_off_says_so(new_pool: NewPool) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(b"250-scripted.example\r\n250 STARTTLS\r\n")
        await peer.hear("STARTTLS")
        peer.say(b"220 go\r\n")
        await peer.reader.read(10)

    async with ScriptedServer(script) as server:
        reply = (await send(new_pool(server.port, tls="required"), "b@example.org"))[
            "b@example.org"
        ]
        assert (reply.phase, reply.code) == ("tls", None)
        assert "STARTTLS" in reply.text


async def test_starttls_refused_has_the_servers_code(new_pool: NewPool) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(b"250-scripted.example\r\n250 STARTTLS\r\n")
        await peer.hear("STARTTLS")
        peer.say(b"454 4.7.0 TLS not available\r\n")
        await peer.reader.read()

    async with ScriptedServer(script) as server:
        reply = (await send(new_pool(server.port, tls="required"), "b@example.org"))[
            "b@example.org"
        ]
        assert (reply.phase, reply.code, reply.enhanced) == ("tls", 454, "4.7.0")


async def test_commands_injected_before_tls_are_dropped(
    new_pool: NewPool, certificates: Certificates
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(b"250-scripted.example\r\n250 STARTTLS\r\n")
        await peer.hear("STARTTLS")
        peer.say(b"220 go\r\n250-evil.example\r\n250 SIZE 1\r\n")
        await peer.writer.start_tls(certificates.server)
        await peer.hear("EHLO")
        peer.say(b"250 scripted.example\r\n")
        for verb, reply in (
            ("MAIL", b"250 ok\r\n"),
            ("RCPT", b"250 ok\r\n"),
            ("DATA", b"354 go\r\n"),
        ):
            await peer.hear(verb)
            peer.say(reply)
        await peer.message()
        peer.say(b"250 ok\r\n")
        await peer.hear("QUIT")
        peer.say(b"221 bye\r\n")

    async with ScriptedServer(script) as server:
        pool = new_pool(server.port)
        assert (await send(pool, "b@example.org"))["b@example.org"].code == 250
        await pool.close()


@pytest.mark.parametrize("tls", [None, "required", "implicit"])
async def test_login_goes_before_mail(
    new_pool: NewPool, certificates: Certificates, tls: str | None
) -> None:
    given: dict[str, Any] = {"credentials": LOGIN}
    if tls:
        given["implicit_tls" if tls == "implicit" else "starttls"] = certificates.server
    async with MisbehavingServer(**given) as server:
        pool = new_pool(
            server.port,
            tls=tls or "none",
            tls_ca=certificates.ca if tls else "",
            username=LOGIN[0],
            password=LOGIN[1],
        )
        assert (await send(pool, "b@example.org"))["b@example.org"].code == 250
        assert server.messages[0].user == LOGIN[0]


async def test_wrong_password_has_the_servers_code_and_no_password_in_it(new_pool: NewPool) -> None:
    async with MisbehavingServer(credentials=LOGIN) as server:
        reply = (
            await send(new_pool(server.port, username=LOGIN[0], password="wr0ng"), "b@example.org")
        )["b@example.org"]
        assert (reply.phase, reply.code, reply.enhanced) == ("auth", 535, "5.7.8")
        assert "wr0ng" not in reply.text
        assert server.messages == []


async def test_login_missing_is_refused_at_mail(new_pool: NewPool) -> None:
    async with MisbehavingServer(credentials=LOGIN) as server:
        reply = (await send(new_pool(server.port), "b@example.org"))["b@example.org"]
        assert (reply.phase, reply.code) == ("mail", 530)


async def test_login_that_the_server_does_not_offer_says_so(new_pool: NewPool) -> None:
    async with MisbehavingServer() as server:
        reply = (await send(new_pool(server.port, username="u", password="p"), "b@example.org"))[
            "b@example.org"
        ]
        assert (reply.phase, reply.code) == ("auth", None)
        assert "AUTH" in reply.text


async def test_ca_file_that_is_missing_fails_with_its_name(new_pool: NewPool) -> None:
    reply = (await send(new_pool(1, tls="implicit", tls_ca="/nowhere/ca.pem"), "b@example.org"))[
        "b@example.org"
    ]
    assert (reply.phase, reply.code) == ("tls", None)
    assert "/nowhere/ca.pem" in reply.text


async def test_check_server_says_what_is_offered(certificates: Certificates) -> None:
    async with MisbehavingServer(starttls=certificates.server, credentials=LOGIN) as server:
        here = Server(
            "127.0.0.1",
            server.port,
            tls="required",
            tls_ca=certificates.ca,
            username=LOGIN[0],
            password=LOGIN[1],
        )
        offered = await check_server(here, hostname="", timeout=20)
        assert offered == (
            "TLS 1.3, certificate checked, login, PIPELINING, 8BITMIME, SMTPUTF8, SIZE 67108864"
        )
    with pytest.raises(ConnectFailed, match="refused"):
        await check_server(here, hostname="sender.example", timeout=20)


@pytest.mark.parametrize("tls", ["none", "required", "implicit"])
def test_uvloop_takes_a_transport_over_too(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, tls: str
) -> None:
    for module in (connection, handshake):  # this server answers QUIT, in a thread of its own
        monkeypatch.setattr(module, "QUIT_TIMEOUT", 20.0)
    given = {
        "implicit": {"implicit_tls": certificates.server},
        "required": {"starttls": certificates.server},
        "none": {},
    }[tls]
    message = b"Subject: x\r\n\r\n" + (b"y" * 70 + b"\r\n") * 20_000
    ready = threading.Event()
    found: list[Any] = []

    def serve() -> None:  # aiosmtpd's STARTTLS needs asyncio's own loop
        async def main() -> None:
            done = asyncio.Event()
            async with MisbehavingServer(**given) as server:
                found.extend((server, asyncio.get_running_loop(), done))
                ready.set()
                await done.wait()

        asyncio.run(main())

    thread = threading.Thread(target=serve)
    thread.start()
    assert ready.wait(60)
    server, loop, done = found

    async def deliver() -> None:
        pool = SmtpPool(
            to_relay(
                "default",
                Server(
                    "127.0.0.1",
                    server.port,
                    tls=tls,  # type: ignore[arg-type]
                    tls_ca=certificates.ca if tls != "none" else "",
                ),
            ),
            hostname="sender.example",
            **TIMES,
        )  # type: ignore[arg-type]
        assert (await send(pool, "a@example.org", message=message))["a@example.org"].code == 250
        answers = await asyncio.gather(*(send(pool, f"r{n}@example.org") for n in range(40)))
        assert {reply.code for answer in answers for reply in answer.values()} == {250}
        assert (await send(pool, "drop-dot@example.org"))["drop-dot@example.org"].uncertain
        assert 0 < pool.connections.open <= 20
        await pool.close()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(asyncio.wait_for(deliver(), PATIENCE))
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(60)
    assert server.messages[0].data == message
    assert server.commands["QUIT"] == server.sessions - 1
