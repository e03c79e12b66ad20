"""TLS as policies and routes ask for it: each violation over real sockets, and what comes of it."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from babygun.routing.server import Server
from babygun.routing.tls_policy import TlsPolicy, Violation
from babygun.routing.tlsa import Tlsa
from babygun.smtp import Envelope, KnownServers, Outcome, SmtpPool
from babygun.smtp.classifier import Classifier
from tests.smtp.conftest import MESSAGE, TIMES, Limits, to_hosts, yes
from tests.smtp.scripted import Peer, ScriptedServer
from tests.support.certificates import Authority, Pem
from tests.support.smtp_server import MisbehavingServer

NewPool = Callable[..., SmtpPool]
RULES = Classifier.load()
DAY = timedelta(days=1)
HOST = "mx.example.org"
STS = TlsPolicy("sts", names=(HOST,))
TESTING = TlsPolicy("sts", testing=True, names=(HOST,))


class Contexts(NamedTuple):
    """Contexts of servers, by what is wrong with them, and what a client has to know of them."""

    by_name: dict[str, ssl.SSLContext | None]
    ca: str
    good: bytes  # DER
    authority: bytes

    def dane(self, usage: int = 3, *, of: bytes = b"", **changes: Any) -> TlsPolicy:
        """A policy with the record ``usage`` 1 1 of the good certificate, or of ``of``."""
        certificate = x509.load_der_x509_certificate(of or self.good)
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        record = Tlsa(usage, 1, 1, hashlib.sha256(key).digest())
        return TlsPolicy("dane", **{"names": (HOST, "example.org"), "tlsa": (record,), **changes})


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    folder = tmp_path_factory.mktemp("policies")
    ours, stranger = Authority(folder / "ours"), Authority(folder / "stranger")
    good = ours.sign("good", hosts=(HOST,))
    expired = ours.sign("old", hosts=(HOST,), begins=-2 * DAY, ends=-DAY)
    old = serving(good)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1
    return Contexts(
        {
            "good": serving(good, ours.ca),
            "wrong name": serving(ours.sign("other", hosts=("mx2.example.org",)), ours.ca),
            "common name": serving(ours.sign(HOST, hosts=()), ours.ca),
            "expired": serving(expired, ours.ca),
            "unknown authority": serving(stranger.sign("good", hosts=(HOST,)), stranger.ca),
            "TLS 1.0": old,
            "no STARTTLS": None,
        },
        str(ours.ca),
        der(good.cert),
        der(ours.ca),
    )


def serving(pem: Pem, authority: Path | None = None) -> ssl.SSLContext:
    """A server's context that shows its certificate, and the authority's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if authority is None:
        context.load_cert_chain(*pem)
    else:
        chain = pem.cert.with_suffix(".chain")
        chain.write_bytes(pem.cert.read_bytes() + authority.read_bytes())
        context.load_cert_chain(chain, pem.key)
    return context


def der(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


@pytest.fixture
async def new_pool(contexts: Contexts) -> AsyncIterator[NewPool]:
    """``new_pool(*servers, …)``: to the hosts of one domain, each given as (server, policy)."""
    pools: list[SmtpPool] = []

    def make(
        *servers: tuple[MisbehavingServer | ScriptedServer, TlsPolicy],
        known: KnownServers | None = None,
        **fields: Any,
    ) -> SmtpPool:
        hosts = [
            Server(
                HOST,
                server.port,
                server.host,
                **{"tls_ca": contexts.ca, "policy": policy, **fields},
            )
            for server, policy in servers
        ]
        destination = dataclasses.replace(to_hosts(), hosts=hosts)
        pools.append(SmtpPool(destination, hostname="sender.example", known=known, **TIMES))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.close()


async def send(pool: SmtpPool, queue: str = "mx:example.org") -> Outcome:
    envelope = Envelope("a@example.org", ("b@example.org",), lambda *_: MESSAGE)
    return await pool.deliver(envelope, may_send=yes, queue=queue)


def said(outcome: Outcome) -> tuple[int | None, str]:
    [reply] = outcome.replies.values()
    return reply.code, reply.text


# --- what is enough ---


@pytest.mark.parametrize(
    ("policy", "context", "verified"),
    [
        ("sts", "good", "pkix"),
        ("sts_testing", "good", "pkix"),
        ("dane_ee", "good", "dane_ee"),
        ("dane_ta", "good", "dane_ta"),
        ("dane_unusable", "unknown authority", None),
    ],
)
async def test_host_that_shows_what_the_policy_demands_gets_the_mail(
    new_pool: NewPool, contexts: Contexts, policy: str, context: str, verified: str | None
) -> None:
    policies = {
        "sts": STS,
        "sts_testing": TESTING,
        "dane_ee": contexts.dane(3, names=("elsewhere.example",)),  # names do not count
        "dane_ta": contexts.dane(2, of=contexts.authority),
        "dane_unusable": contexts.dane(tlsa=()),
    }
    async with MisbehavingServer(starttls=contexts.by_name[context]) as server:
        outcome = await send(new_pool((server, policies[policy]), tls="none"))
        assert said(outcome)[0] == 250 and server.messages[0].tls and server.sessions == 1
        result = outcome.tls
        assert result is not None and (result.version, result.failure) == ("1.3", "")
        assert (result.policy, result.verified) == (policy.partition("_")[0], verified) or (
            result.policy == policy == "sts_testing"
        )
        assert "AES" in result.cipher or "CHACHA" in result.cipher
        assert [each.result for each in outcome.sessions] == [result]


async def test_expired_certificate_is_enough_where_a_tlsa_record_names_it(
    new_pool: NewPool, contexts: Contexts, tmp_path: Path
) -> None:
    expired = Authority(tmp_path).sign("old", hosts=("x.example",), begins=-2 * DAY, ends=-DAY)
    async with MisbehavingServer(starttls=serving(expired)) as server:
        outcome = await send(new_pool((server, contexts.dane(of=der(expired.cert)))))
        assert said(outcome)[0] == 250
        assert outcome.tls is not None and outcome.tls.verified == "dane_ee"


@pytest.mark.parametrize("usage", [2, 3])
def test_certificates_are_found_on_uvloop_too(contexts: Contexts, usage: int) -> None:
    context = contexts.by_name["good"]
    assert context is not None

    async def script(peer: Peer) -> None:
        await peer.greet(b"250-scripted.example\r\n250 STARTTLS\r\n")
        await peer.hear("STARTTLS")
        peer.say(b"220 go\r\n")
        await peer.writer.start_tls(context)
        await peer.hear("EHLO")
        peer.say(b"250 scripted.example\r\n")
        for verb, reply in (("MAIL", b"250"), ("RCPT", b"250"), ("DATA", b"354")):
            await peer.hear(verb)
            peer.say(reply + b" ok\r\n")
        await peer.message()
        peer.say(b"250 ok\r\n")
        await peer.hear("QUIT")
        peer.say(b"221 bye\r\n")

    async def main() -> None:
        policy = contexts.dane(usage, of=contexts.authority if usage == 2 else b"")
        async with ScriptedServer(script) as server:
            host = Server(HOST, server.port, server.host, policy=policy)
            pool = SmtpPool(to_hosts(host), hostname="sender.example", **TIMES)
            outcome = await send(pool)
            await pool.close()
        assert said(outcome)[0] == 250
        assert (
            outcome.tls is not None and outcome.tls.verified == {2: "dane_ta", 3: "dane_ee"}[usage]
        )

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(main(), 60))


# --- violations ---

VIOLATIONS = [
    ("sts", "wrong name", "certificate-host-mismatch", "mx.example.org"),
    ("sts", "common name", "certificate-host-mismatch", "mx.example.org"),
    ("sts", "expired", "certificate-expired", "expired"),
    ("sts", "unknown authority", "certificate-not-trusted", "self-signed"),
    ("sts", "TLS 1.0", "validation-failure", "STARTTLS"),
    ("sts", "no STARTTLS", "starttls-not-supported", "does not offer STARTTLS"),
    ("dane_ee", "wrong name", "certificate-not-trusted", "no TLSA record names the server's"),
    ("dane_ee", "TLS 1.0", "validation-failure", "STARTTLS"),
    ("dane_ee", "no STARTTLS", "starttls-not-supported", "does not offer STARTTLS"),
    ("dane_ta", "wrong name", "certificate-host-mismatch", "does not name mx.example.org or"),
    ("dane_ta", "expired", "certificate-expired", "expired"),
    ("dane_ta", "unknown authority", "certificate-not-trusted", "names an authority"),
    ("dane_unusable", "no STARTTLS", "starttls-not-supported", "does not offer STARTTLS"),
]


def policy_of(contexts: Contexts, name: str) -> TlsPolicy:
    return {
        "sts": STS,
        "dane_ee": contexts.dane(),
        "dane_ta": contexts.dane(2, of=contexts.authority),
        "dane_unusable": contexts.dane(tlsa=()),
    }[name]


@pytest.mark.parametrize(("name", "context", "failure", "words"), VIOLATIONS)
async def test_violation_sends_nothing_and_its_reason_names_policy_and_violation(
    new_pool: NewPool, contexts: Contexts, name: str, context: str, failure: str, words: str
) -> None:
    policy = policy_of(contexts, name)
    async with MisbehavingServer(starttls=contexts.by_name[context]) as server:
        outcome = await send(new_pool((server, policy)))
        code, text = said(outcome)
        assert code is None and server.messages == []
        kind = {"sts": "MTA-STS", "dane": "DANE"}[policy.kind]
        assert text.startswith(f"The domain's {kind} policy is violated: ") and words in text
        found = RULES.classify(next(iter(outcome.replies.values())), route="mx")
        assert (found.reply_class, found.action, found.about) == ("tls_policy", "retry", "domain")
        result = outcome.tls
        assert result is not None and (result.policy, result.failure, result.connected) == (
            policy.kind,
            failure,
            False,
        )


@pytest.mark.parametrize(("name", "context", "failure", "words"), VIOLATIONS)
async def test_violation_goes_to_the_next_host_which_is_no_reason_to_avoid_the_first(
    new_pool: NewPool, contexts: Contexts, name: str, context: str, failure: str, words: str
) -> None:
    policy = policy_of(contexts, name)
    known = KnownServers()
    async with (
        MisbehavingServer(starttls=contexts.by_name[context]) as bad,
        MisbehavingServer(starttls=contexts.by_name["good"]) as good,
    ):
        outcome = await send(new_pool((bad, policy), (good, policy), known=known))
        assert said(outcome)[0] == 250 and not bad.messages and good.messages[0].tls
        failed, used = outcome.sessions
        assert (failed.result.failure, failed.result.connected) == (failure, False)
        assert words in failed.why and failed.server.port == bad.port
        assert (used.result, used.server.port) == (outcome.tls, good.port)
        assert used.result.failure == "" and used.result.connected
        if name == "sts":  # a domain without a policy still sends to the first one
            await send(new_pool((bad, TlsPolicy()), (good, TlsPolicy()), known=known))
            assert len(bad.messages) == 1


@pytest.mark.parametrize(
    ("context", "failure", "words"), [row[1:] for row in VIOLATIONS if row[0] == "sts"]
)
async def test_violation_of_a_policy_that_only_tests_is_reported_and_the_mail_goes(
    new_pool: NewPool, contexts: Contexts, context: str, failure: str, words: str
) -> None:
    async with MisbehavingServer(starttls=contexts.by_name[context]) as server:
        outcome = await send(new_pool((server, TESTING)))
        assert said(outcome)[0] == 250
        result = outcome.tls
        assert result is not None and (result.policy, result.failure, result.connected) == (
            "sts_testing",
            failure,
            True,
        )
        plain = context in ("TLS 1.0", "no STARTTLS")
        assert server.messages[0].tls is not plain and bool(result.version) is not plain
        [session] = outcome.sessions
        assert session.result == result and words in session.why


async def test_violation_of_a_policy_that_only_tests_costs_a_second_connection_once(
    new_pool: NewPool, contexts: Contexts
) -> None:
    known = KnownServers()
    async with MisbehavingServer(starttls=contexts.by_name["expired"]) as server:
        for sessions in (2, 3, 4):
            outcome = await send(new_pool((server, TESTING), known=known))
            assert said(outcome)[0] == 250 and server.sessions == sessions
            [session] = outcome.sessions
            assert session.result.failure == "certificate-expired" and session.result.version
            assert "certificate has expired" in session.why
        strict = await send(new_pool((server, STS), known=known))
        assert said(strict)[0] is None, "what a test does not mind, another policy does"
    assert [message.tls for message in server.messages] == [True] * 3


@pytest.mark.parametrize("kind", ["sts", "dane"])
async def test_violation_that_is_known_before_makes_no_connection(
    new_pool: NewPool, contexts: Contexts, kind: Any
) -> None:
    violation = Violation("dnssec-invalid", "the TLSA records of mx.example.org can't be had")
    async with MisbehavingServer(starttls=contexts.by_name["good"]) as server:
        outcome = await send(new_pool((server, TlsPolicy(kind, violation=violation))))
        assert said(outcome)[0] is None and violation.text in said(outcome)[1]
        assert server.sessions == 0
        assert outcome.tls is not None and outcome.tls.failure == "dnssec-invalid"
        testing = TlsPolicy("sts", testing=True, names=(HOST,), violation=violation)
        outcome = await send(new_pool((server, testing)))
        assert said(outcome)[0] == 250 and server.messages[0].tls
        assert outcome.tls is not None and outcome.tls.failure == "dnssec-invalid"


@pytest.mark.parametrize("breaks", ["cut", "refused", "silent"])
async def test_handshake_that_breaks_is_a_violation_and_never_plain_text(
    new_pool: NewPool, contexts: Contexts, limits: Limits, breaks: str
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(b"250-scripted.example\r\n250 STARTTLS\r\n")
        await peer.hear("STARTTLS")
        peer.say(b"454 4.7.0 not now\r\n" if breaks == "refused" else b"220 go\r\n")
        if breaks == "silent":
            limits.pass_soon()
            await asyncio.Event().wait()
        await peer.reader.read(10)

    async with ScriptedServer(script) as server:
        outcome = await send(new_pool((server, STS)))
        reply = next(iter(outcome.replies.values()))
        assert reply.code == (454 if breaks == "refused" else None)
        assert reply.text.startswith("The domain's MTA-STS policy is violated: ")
        assert RULES.classify(reply, route="mx").reply_class == "tls_policy"
        assert server.connections == 1


async def test_host_that_is_busy_when_asked_for_tls_violates_nothing(new_pool: NewPool) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(b"250-scripted.example\r\n250 STARTTLS\r\n")
        await peer.hear("STARTTLS")
        peer.say(b"421 4.3.2 Too many connections\r\n")

    async with ScriptedServer(script) as server:
        outcome = await send(new_pool((server, STS)))
        assert said(outcome)[0] == 421 and outcome.tls is None and outcome.sessions == ()
        assert server.connections == 1, "no plain text"


async def test_tls_that_was_seen_to_break_is_still_demanded_by_a_policy(
    new_pool: NewPool, contexts: Contexts
) -> None:
    known = KnownServers()
    async with MisbehavingServer(starttls=contexts.by_name["TLS 1.0"]) as server:
        assert said(await send(new_pool((server, TlsPolicy()), known=known)))[0] == 250
        assert not server.messages[0].tls
        for policy in (STS, contexts.dane(), contexts.dane(tlsa=())):
            outcome = await send(new_pool((server, policy), known=known))
            assert "policy is violated" in said(outcome)[1]
        assert len(server.messages) == 1


async def test_host_that_is_not_there_violates_nothing(
    new_pool: NewPool, contexts: Contexts
) -> None:
    async with MisbehavingServer() as server:
        pass
    outcome = await send(new_pool((server, STS)))
    assert outcome.tls is None and outcome.sessions == ()
    assert RULES.classify(next(iter(outcome.replies.values())), route="mx").reply_class == "network"


async def test_old_tls_that_the_route_takes_is_not_enough_for_a_policy(
    new_pool: NewPool, contexts: Contexts
) -> None:
    async with MisbehavingServer(starttls=contexts.by_name["TLS 1.0"]) as server:
        for policy in (STS, contexts.dane(), contexts.dane(tlsa=())):
            outcome = await send(new_pool((server, policy), tls_min="1.0"))
            assert "policy is violated" in said(outcome)[1] and not server.messages


# --- without a policy ---


async def test_old_server_gets_plain_text_unless_the_route_takes_old_tls(
    new_pool: NewPool, contexts: Contexts
) -> None:
    async with MisbehavingServer(starttls=contexts.by_name["TLS 1.0"]) as server:
        plain = await send(new_pool((server, TlsPolicy())))
        assert plain.tls is not None and plain.tls.version == "" and plain.tls.connected
        assert plain.tls.failure == "validation-failure" and not server.messages[0].tls
        old = await send(new_pool((server, TlsPolicy()), tls_min="1.0"))
        assert old.tls is not None and old.tls.version == "1.0" and server.messages[1].tls
        strict = await send(new_pool((server, TlsPolicy()), tls="encrypted"))
        assert said(strict)[0] is None and strict.tls is not None and not strict.tls.connected


async def test_newest_tls_may_be_demanded_by_a_route(new_pool: NewPool, contexts: Contexts) -> None:
    older = contexts.by_name["good"]
    assert older is not None
    async with MisbehavingServer(starttls=older) as server:
        older.maximum_version = ssl.TLSVersion.TLSv1_2
        try:
            usual = await send(new_pool((server, TlsPolicy())))
            strict = await send(new_pool((server, TlsPolicy()), tls="encrypted", tls_min="1.3"))
        finally:
            older.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    assert usual.tls is not None and usual.tls.version == "1.2"
    assert strict.tls is not None and not strict.tls.connected


async def test_server_without_starttls_gets_plain_text_and_the_result_says_so(
    new_pool: NewPool,
) -> None:
    async with MisbehavingServer() as server:
        outcome = await send(new_pool((server, TlsPolicy())))
        assert outcome.tls is not None
        assert (outcome.tls.version, outcome.tls.failure, outcome.tls.policy) == ("", "", "none")


# --- counting ---


async def test_connection_counts_once_for_each_queue_that_uses_it(
    new_pool: NewPool, contexts: Contexts
) -> None:
    async with MisbehavingServer(starttls=contexts.by_name["good"]) as server:
        pool = new_pool((server, STS))
        counted = [
            len((await send(pool, queue)).sessions) for queue in ("mx:a", "mx:a", "mx:b", "mx:b")
        ]
        assert counted == [1, 0, 1, 0] and server.sessions == 1
