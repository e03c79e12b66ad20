"""What a server says up to MAIL, of real servers: tests/data/field/replies.toml.

A scripted server says each one in its place. The delivery must find in it what `babygun classify
--phase` finds in it.
"""

from __future__ import annotations

import asyncio
import base64
import tomllib
from collections.abc import Awaitable, Callable

import pytest

from babygun.smtp import SmtpPool
from babygun.smtp.classifier import Classifier
from babygun.smtp.replies import SESSION_PHASES, Phase, Reply, parse_reply
from babygun.smtp.reply_rules import ROUTES, Route
from tests.smtp.conftest import Certificates, send
from tests.smtp.scripted import Peer, ScriptedServer
from tests.support.field import rows
from tests.support.paths import ROOT

NewPool = Callable[..., SmtpPool]
CLASSIFIER = Classifier.load()
ROWS = [(group, reply) for group in rows("replies", "group") for reply in group["replies"]]
SAID: dict[Phase, list[str]] = {
    phase: [
        reply
        for group, reply in ROWS
        if group["phase"] == phase and parse_reply(reply, phase).code is not None
    ]
    for phase in SESSION_PHASES
}
LOGIN = {"username": "relay-user", "password": "s3cret"}
EHLO = b"250-scripted.example\r\n250-%s\r\n250 8BITMIME\r\n"


def test_reply_of_a_real_server_means_what_the_table_says() -> None:
    wrong = []
    for group, text in ROWS:
        reply = parse_reply(text, group["phase"])
        found = CLASSIFIER.classify(reply)
        if found.fresh_connection:
            found = CLASSIFIER.classify(reply, repeated=True)
        got = (found.reply_class, found.action, found.about, found.alarm)
        wanted = (group["class"], group["action"], group.get("about"), group.get("alarm", False))
        if got != wanted:
            wrong.append((group["phase"], text, found.rule, got))
    assert wrong == []


def test_table_has_every_phase_and_bounces_before_rcpt_only_for_sender_or_message() -> None:
    assert {phase for phase in SESSION_PHASES if not SAID[phase]} == {"connect"}
    for group, text in ROWS:
        if group["phase"] in SESSION_PHASES and group["action"] == "fail":
            assert (group["phase"], group["about"]) in (("mail", "sender"), ("mail", "message")), (
                text
            )


@pytest.mark.parametrize("route", ROUTES)
def test_no_reply_up_to_mail_bounces_whatever_it_says_but_of_a_sender_or_message(
    route: Route,
) -> None:
    """A domain's own host may say of the domain that it takes no mail: 521 alone."""
    corpus = tomllib.loads((ROOT / "tests/smtp/replies-corpus.toml").read_text("utf-8"))["reply"]
    texts = [text for _, text in ROWS] + [entry["text"] for entry in corpus]
    for phase in SESSION_PHASES:
        for text in texts:
            found = CLASSIFIER.classify(parse_reply(text, phase), route=route, repeated=True)
            if phase == "mail" and found.about in ("sender", "message"):
                continue
            if found.rule == "no_mail_here":
                assert (route, phase, text[:3]) == ("mx", "greeting", "521"), (phase, text)
                continue
            assert found.action == "retry", (phase, text, found)
            refused = text[0] == "5" and phase not in ("connect", "mail")
            assert (
                not refused
                or found.about in ("session", "connections")
                or (route, phase, found.about) == ("mx", "tls", "domain")
            ), (phase, text)


def on_the_wire(reply: str) -> bytes:
    return reply.replace("\n", "\r\n").encode() + b"\r\n"


def refusing(phase: Phase, reply: bytes, offered: bytes) -> Callable[[Peer], Awaitable[None]]:
    """A server that answers the commands of one phase so, and every other one as is usual."""
    verbs = {"ehlo": ("EHLO", "HELO"), "tls": ("STARTTLS",), "auth": ("AUTH",), "mail": ("MAIL",)}
    refused = verbs.get(phase, ())

    async def script(peer: Peer) -> None:
        peer.say(reply if phase == "greeting" else b"220 scripted.example\r\n")
        while line := await peer.reader.readline():
            verb = line.split()[0].decode().upper()
            if verb in refused:
                peer.say(reply)
            elif verb == "EHLO":
                peer.say(EHLO % offered)
            elif verb == "QUIT":
                peer.say(b"221 bye\r\n")
                return
            elif verb == "BDAT":
                await peer.reader.readexactly(int(line.split()[1]))
                peer.say(b"503 5.5.1 no transaction\r\n")
            else:
                peer.say(b"503 5.5.1 no transaction\r\n")

    return script


async def meets(
    new_pool: NewPool, phase: Phase, text: str, offered: bytes, **given: str
) -> tuple[Reply, int]:
    """The reply that a delivery ends with, and how often the server was connected to."""
    async with ScriptedServer(refusing(phase, on_the_wire(text), offered)) as server:
        pool = new_pool(server.port, **given)
        reply = (await send(pool, "b@example.org"))["b@example.org"]
        await pool.close()
        return reply, server.connections


@pytest.mark.parametrize(
    ("phase", "offered", "given"),
    [
        ("greeting", b"PIPELINING", {}),
        ("ehlo", b"PIPELINING", {}),
        ("tls", b"STARTTLS", {"tls": "required"}),
        ("auth", b"AUTH PLAIN LOGIN CRAM-MD5", {"tls": "none", **LOGIN}),
        ("mail", b"PIPELINING", {}),
        ("mail", b"PIPELINING\r\n250-CHUNKING", {}),
        ("mail", b"HELP", {}),
    ],
    ids=["greeting", "ehlo", "starttls", "auth", "mail-pipelined", "mail-bdat", "mail-one-by-one"],
)
async def test_delivery_finds_in_a_reply_what_classify_finds_in_it(
    new_pool: NewPool,
    certificates: Certificates,
    phase: Phase,
    offered: bytes,
    given: dict[str, str],
) -> None:
    given = given | {"tls_ca": certificates.ca}
    met = await asyncio.gather(
        *(meets(new_pool, phase, text, offered, **given) for text in SAID[phase])
    )
    wrong = []
    for text, (reply, _) in zip(SAID[phase], met, strict=True):
        wanted = parse_reply(text, phase)
        if (reply.phase, reply.code) != (phase, wanted.code) or (
            CLASSIFIER.classify(reply) != CLASSIFIER.classify(wanted)
        ):
            wrong.append((text, reply))
    assert wrong == []


@pytest.mark.parametrize("phase", ["greeting", "ehlo", "auth"])
async def test_server_that_hangs_up_after_its_refusal_is_understood(
    new_pool: NewPool, phase: Phase
) -> None:
    async def script(peer: Peer) -> None:
        peer.say(b"554 5.7.1 no\r\n" if phase == "greeting" else b"220 scripted.example\r\n")
        if phase == "auth":
            await peer.hear("EHLO")
            peer.say(b"250-scripted.example\r\n250 AUTH PLAIN LOGIN\r\n")
        if phase != "greeting":
            await peer.reader.readline()
            peer.say(b"554 5.7.1 no\r\n")
        await peer.writer.drain()

    async with ScriptedServer(script) as server:
        pool = new_pool(server.port, tls="none", **(LOGIN if phase == "auth" else {}))
        reply = (await send(pool, "b@example.org"))["b@example.org"]
    assert reply == Reply(phase, 554, "5.7.1", "no")
    assert CLASSIFIER.classify(reply).about == "session"


@pytest.mark.parametrize(
    ("replies", "wanted"),
    [
        ([b"504 5.5.4 no such method", b"535 5.7.8 wrong password"], 535),
        ([b"535 5.7.8 wrong password", b"504 5.5.4 no such method"], 535),
        ([b"535 5.7.8 wrong password", b"503 5.5.1 no more"], 535),
        ([b"535 5.7.8 wrong password", b"421 4.7.0 too many errors"], 535),
        ([b"454 4.7.0 later", b"454 4.7.0 later"], 454),
        ([b"504 5.5.4 no such method", b"235 2.7.0 welcome"], 250),
    ],
)
async def test_login_by_several_methods_says_what_the_server_says_of_the_login(
    new_pool: NewPool, replies: list[bytes], wanted: int
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(b"250-scripted.example\r\n250-PIPELINING\r\n250 AUTH PLAIN LOGIN\r\n")
        for reply in replies:
            await peer.hear("AUTH")
            peer.say((b"334 UGFzc3dvcmQ6" if reply[:3] == b"235" else reply) + b"\r\n")
            if reply[:3] == b"235":
                await peer.reader.readline()
                peer.say(reply + b"\r\n")
                await peer.transaction()
        await peer.reader.read()

    async with ScriptedServer(script) as server:
        pool = new_pool(server.port, tls="none", **LOGIN)
        assert (await send(pool, "b@example.org"))["b@example.org"].code == wanted


async def test_login_that_the_server_repeats_in_its_reply_is_taken_out(new_pool: NewPool) -> None:
    said = (
        b"AUTH PLAIN " + base64.b64encode(b"\0relay-user\0s3cret"),
        b"AUTH LOGIN and " + base64.b64encode(b"s3cret"),
        b"user relay-user with s3cret",
    )

    async def script(peer: Peer) -> None:
        await peer.greet(b"250-scripted.example\r\n250 AUTH PLAIN\r\n")
        await peer.hear("AUTH")
        peer.say(b"535 5.7.8 " + b", ".join(said) + b"\r\n")
        await peer.reader.read()

    async with ScriptedServer(script) as server:
        pool = new_pool(server.port, tls="none", **LOGIN)
        reply = (await send(pool, "b@example.org"))["b@example.org"]
    assert reply.text == (
        "AUTH PLAIN [password], AUTH LOGIN and [password], user relay-user with [password]"
    )


@pytest.mark.parametrize(
    ("phase", "text"),
    [("greeting", "250 scripted.example"), ("ehlo", "220 scripted.example"), ("auth", "250 ok")],
)
async def test_2xx_in_a_wrong_place_delivers_nothing(
    new_pool: NewPool, phase: Phase, text: str
) -> None:
    given = {"tls": "none", **LOGIN} if phase == "auth" else {}
    reply, _ = await meets(new_pool, phase, text, b"AUTH PLAIN", **given)
    assert reply.code is not None and 200 <= reply.code <= 299
    assert CLASSIFIER.classify(reply).action == "retry"


async def test_login_or_tls_that_is_not_offered_holds_the_queue(new_pool: NewPool) -> None:
    for phase, given in (("auth", {"tls": "none", **LOGIN}), ("tls", {"tls": "required"})):
        reply, _ = await meets(new_pool, "greeting", "220 scripted.example", b"HELP", **given)
        found = CLASSIFIER.classify(reply)
        assert (reply.phase, found.about, found.alarm) == (phase, "session", True)
