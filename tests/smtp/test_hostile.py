"""Servers that mean harm: floods, drips, and words that are to act elsewhere.

A flood counts what the client took before it cut the connection. That bounds its memory and its
time: 1 GiB was offered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from babygun.smtp import SmtpPool
from tests.smtp.conftest import Certificates, Limits, send
from tests.smtp.scripted import EHLO, Peer, ScriptedServer

NewPool = Callable[..., SmtpPool]
OFFERED = 1 << 30  # bytes of a flood
TAKEN = 32 << 20  # bytes that a client may take of it: mostly buffers of the two sockets
OK = b"250 ok\r\n"
WITH_TLS = b"250-scripted.example\r\n250 STARTTLS\r\n"
WITH_LOGIN = b"250-scripted.example\r\n250 AUTH %b\r\n"
LOGIN = {"username": "ann", "password": "secret"}

FLOODS = {
    "a line without end": b"250 " + b"x" * 65_536,
    "lines without end": b"250-more\r\n" * 6_000,
    "long lines without end": (b"250-" + b"x" * 8_000 + b"\r\n") * 8,
    "empty lines without end": b"250-\r\n" * 10_000,
    "replies to nothing": OK * 8_000,
    "rubbish": bytes(range(256)) * 256,
    "nul bytes": bytes(65_536),
    "line feeds": b"\n" * 65_536,
}
PHASES = ("greeting", "ehlo", "auth", "mail", "data", "message", "idle")


async def flood(peer: Peer, piece: bytes) -> int:
    """Writes as long as the client takes it. Returns the bytes that it took."""
    taken = 0
    try:
        while taken < OFFERED:
            peer.say(piece)
            await peer.writer.drain()
            taken += len(piece)
    except ConnectionError:
        pass
    return taken


async def answer_up_to(phase: str, peer: Peer) -> None:
    """The usual replies before the one to ``phase``; of phases after MAIL, those before MAIL's."""
    if phase != "greeting":
        peer.say(b"220 scripted.example\r\n")
        await peer.hear("EHLO")
    if phase not in ("greeting", "ehlo"):
        peer.say(WITH_LOGIN % b"PLAIN" if phase == "auth" else EHLO)
        await peer.hear("AUTH" if phase == "auth" else "MAIL")


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("piece", FLOODS.values(), ids=FLOODS.keys())
async def test_flood_of_a_server_ends_the_connection_in_any_phase(
    new_pool: NewPool, piece: bytes, phase: str
) -> None:
    taken: list[int] = []

    async def script(peer: Peer) -> None:
        await answer_up_to(phase, peer)
        if phase in ("data", "message", "idle"):
            await peer.hear("RCPT", "DATA")
            peer.say(OK + OK + (b"354 go\r\n" if phase != "data" else b""))
        if phase in ("message", "idle"):
            await peer.message()
        if phase == "idle":
            peer.say(OK)
        taken.append(await flood(peer, piece))

    login = LOGIN if phase == "auth" else {}
    async with ScriptedServer(script) as server, asyncio.timeout(30):
        pool = new_pool(server.port, **login)
        replies = await send(pool, "b@example.org")
        while not taken:  # noqa: ASYNC110 (a cut has no signal here)
            await asyncio.sleep(0.01)
        await pool.close()
    assert max(taken) < TAKEN
    if phase != "idle":
        assert replies["b@example.org"].code in (None, 250 if phase == "message" else None)
        assert len(replies["b@example.org"].text) <= 1000


@pytest.mark.parametrize("piece", FLOODS.values(), ids=FLOODS.keys())
@pytest.mark.parametrize("phase", ["ehlo", "mail"])
async def test_flood_through_tls_ends_the_connection(
    new_pool: NewPool, certificates: Certificates, piece: bytes, phase: str
) -> None:
    taken: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.greet(WITH_TLS)
        await peer.hear("STARTTLS")
        peer.say(b"220 go\r\n")
        await peer.writer.start_tls(certificates.server)
        await peer.hear("EHLO")
        if phase == "mail":
            peer.say(EHLO)
            await peer.hear("MAIL", "RCPT", "DATA")
        taken.append(await flood(peer, piece))

    async with ScriptedServer(script) as server, asyncio.timeout(30):
        pool = new_pool(server.port, tls="required", tls_ca=certificates.ca)
        assert (await send(pool, "b@example.org"))["b@example.org"].code is None
        while not taken:  # noqa: ASYNC110 (a cut has no signal here)
            await asyncio.sleep(0.01)
    assert max(taken) < TAKEN


async def test_text_that_comes_before_tls_counts_for_nothing_behind_it(
    new_pool: NewPool, certificates: Certificates
) -> None:
    """RFC 3207, 6: a program in between can write in plain text what looks like the server's."""

    async def script(peer: Peer) -> None:
        await peer.greet(
            b"250-scripted.example\r\n250-STARTTLS\r\n250-CHUNKING\r\n250 AUTH PLAIN\r\n"
        )
        await peer.hear("STARTTLS")
        peer.say(b"220 go\r\n250-injected\r\n250-PIPELINING\r\n250 AUTH PLAIN LOGIN\r\n235 ok\r\n")
        await peer.writer.start_tls(certificates.server)
        await peer.hear("EHLO")
        peer.say(b"250 scripted.example\r\n")
        assert await peer.reader.read() in (b"", b"QUIT\r\n"), "no password"

    async with ScriptedServer(script) as server, asyncio.timeout(30):
        pool = new_pool(server.port, tls="required", tls_ca=certificates.ca, **LOGIN)
        reply = (await send(pool, "b@example.org"))["b@example.org"]
        await pool.close()
    assert (reply.phase, reply.code) == ("auth", None)
    assert "does not offer AUTH" in reply.text


WORDS = {
    "size of 8,000 digits": b"250-scripted.example\r\n250 SIZE " + b"9" * 8_000 + b"\r\n",
    "size below zero": b"250-scripted.example\r\n250 SIZE -1\r\n",
    "thousand extensions": b"250-x\r\n"
    + b"".join(b"250-X%d\r\n" % n for n in range(1000))
    + b"250 Y\r\n",
}


@pytest.mark.parametrize("ehlo", WORDS.values(), ids=WORDS.keys())
async def test_odd_offer_of_a_server_is_taken_or_passed_over(
    new_pool: NewPool, ehlo: bytes
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(ehlo)
        for verb in ("MAIL", "RCPT"):
            await peer.hear(verb)
            peer.say(OK)
        await peer.hear("DATA")
        peer.say(b"354 go\r\n")
        await peer.message()
        peer.say(OK)
        await peer.reader.read()

    async with ScriptedServer(script) as server, asyncio.timeout(30):
        pool = new_pool(server.port)
        assert (await send(pool, "b@example.org"))["b@example.org"].code == 250


CHALLENGES = {
    "no base64": b"334 !!!\r\n",
    "no ascii": b"334 \xff\xfe\xc3\r\n",
    "control characters": b"334 \x1b[2J\x00\x07\r\n",
    "no code": b"\x1b]0;taken\x07\r\n",
    "code below zero": b"-34 x\r\n",
    "code with underscore": b"2_5 x\r\n",
    "success of another kind": b"354 go on\r\n",
}


@pytest.mark.parametrize("method", [b"CRAM-MD5", b"PLAIN", b"LOGIN", b"XOAUTH2 CRAM-MD5 LOGIN"])
@pytest.mark.parametrize("challenge", CHALLENGES.values(), ids=CHALLENGES.keys())
async def test_odd_challenge_of_a_login_is_a_failed_login(
    new_pool: NewPool, method: bytes, challenge: bytes
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(WITH_LOGIN % method)
        while line := await peer.reader.readline():
            peer.say(b"221 bye\r\n" if line == b"QUIT\r\n" else challenge)

    async with ScriptedServer(script) as server, asyncio.timeout(30):
        pool = new_pool(server.port, **LOGIN)
        reply = (await send(pool, "b@example.org"))["b@example.org"]
        await pool.close()
    assert reply.phase == "auth" and reply.text.isprintable(), reply


HARMFUL = b"\x1b]0;taken\x07\x1b[2J\x9b31m\xe2\x80\xae\xc2\x9b\x00\xff"


@pytest.mark.parametrize("code", [b"", b"550 ", b"421 ", b"220 "])
@pytest.mark.parametrize("phase", ["greeting", "ehlo", "starttls", "mail", "message", "reset"])
async def test_control_characters_of_a_server_reach_no_reply(
    new_pool: NewPool, code: bytes, phase: str
) -> None:
    """They would act in an operator's terminal: in logs, and in `babygun emails show`."""
    say = code + HARMFUL + b"\r\n"

    async def script(peer: Peer) -> None:
        peer.say(say if phase == "greeting" else b"220 scripted.example\r\n")
        await peer.hear("EHLO")
        peer.say(say if phase == "ehlo" else WITH_TLS if phase == "starttls" else EHLO)
        if phase == "starttls":
            await peer.hear("STARTTLS")
            peer.say(say)
            await peer.reader.read()  # TLS may begin: its random bytes are no commands
            return
        await peer.hear("MAIL", "RCPT", "DATA")
        if phase == "mail":
            peer.say(say * 5)
        elif phase == "reset":
            peer.say(OK + b"550 no\r\n550 no\r\n")
            await peer.hear("RSET", "MAIL", "RCPT", "DATA")
            peer.say(say)
        else:
            peer.say(OK + OK + b"354 go\r\n")
            await peer.message()
            peer.say(say)

    async with ScriptedServer(script) as server, asyncio.timeout(30):
        tls = "required" if phase == "starttls" else "none"
        pool = new_pool(server.port, tls=tls, connect_timeout=0.5, timeout=0.5, data_timeout=0.5)
        found = await send(pool, "b@example.org")
        found |= await send(pool, "c@example.org") if phase == "reset" else {}
        await pool.close()
    for reply in found.values():
        assert reply.text.isprintable(), reply


@pytest.mark.parametrize("phase", ["greeting", "ehlo", "auth", "mail", "data", "message"])
@pytest.mark.parametrize("drop", [b"2", b"250-more\r\n"], ids=["bytes", "lines"])
async def test_drip_of_a_server_holds_a_connection_no_longer_than_silence(
    new_pool: NewPool, limits: Limits, drop: bytes, phase: str
) -> None:
    """The time runs from one whole reply to the next."""

    async def script(peer: Peer) -> None:
        await answer_up_to(phase, peer)
        if phase in ("data", "message"):
            peer.say(OK + OK + (b"354 go\r\n" if phase == "message" else b""))
        if phase == "message":
            await peer.hear("RCPT", "DATA")
            await peer.message()
        limits.pass_soon()
        peer.say(b"220-" if drop == b"2" else b"")
        while True:
            peer.say(drop)
            await peer.writer.drain()
            await asyncio.sleep(0.02)

    login = LOGIN if phase == "auth" else {}
    async with ScriptedServer(script) as server, asyncio.timeout(30):
        pool = new_pool(server.port, **login)
        reply = (await send(pool, "b@example.org"))["b@example.org"]
    # Of a connection that timed out before the greeting, nobody knows whether TCP or SMTP did.
    assert reply.phase == ("connect" if phase == "greeting" else phase)
    assert reply.code is None and "timed out" in reply.text


@pytest.mark.parametrize("size", [100, 1_000_000], ids=["small", "large"])
async def test_server_that_reads_nothing_more_is_cut(new_pool: NewPool, size: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.hear("MAIL", "RCPT", "DATA")
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        peer.say(OK + OK + b"354 go\r\n")
        await asyncio.Event().wait()

    async with ScriptedServer(script) as server, asyncio.timeout(30):
        pool = new_pool(server.port, data_timeout=0.3)
        reply = await send(pool, "b@example.org", message=b"x" * 70 * (size // 70))
        assert "timed out" in reply["b@example.org"].text
        assert (pool.connections.open, pool.connections.in_use) == (0, 0)
