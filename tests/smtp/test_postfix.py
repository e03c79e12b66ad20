"""What a real Postfix says, configured to refuse: the delivery's reply, and what it means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest_asyncio

from babygun.smtp import SmtpPool
from babygun.smtp.classifier import Classification, Classifier
from babygun.smtp.replies import Reply
from tests.smtp.conftest import deliver, send
from tests.support.postfix import postfix

NewPool = Callable[..., SmtpPool]
CLASSIFIER = Classifier.load()
AT_ONCE = {"smtpd_delay_reject": "no"}  # by default Postfix says until RCPT what it could say first
LOGIN = {"username": "relay-user", "password": "s3cret", "tls": "none"}
# by name: settings of main.cf, of the destination; the reply's phase and code, class, action, about
CASES: dict[str, tuple[dict[str, str], dict[str, str], tuple[str, int, str, str, str | None]]] = {
    "takes it": ({}, {}, ("message", 250, "delivered", "deliver", None)),
    "blocks us": (
        AT_ONCE | {"smtpd_client_restrictions": "reject"},
        {},
        ("greeting", 554, "ip_block", "retry", "session"),
    ),
    "blocks us, says it at RCPT": (
        {"smtpd_client_restrictions": "reject"},
        {},
        ("rcpt", 554, "ip_block", "retry", "site"),
    ),
    "refuses our name": (
        AT_ONCE | {"smtpd_helo_restrictions": "reject"},
        {},
        ("ehlo", 554, "configuration", "retry", "session"),
    ),
    "refuses our name, says it at RCPT": (
        {"smtpd_helo_restrictions": "reject"},
        {},
        ("rcpt", 554, "configuration", "retry", None),
    ),
    "wants TLS": (
        {"smtpd_tls_security_level": "encrypt"},
        {"tls": "none"},
        ("mail", 530, "configuration", "retry", "session"),
    ),
    "has no certificate": (
        {"smtpd_tls_security_level": "may", "smtpd_tls_cert_file": "/nowhere/cert.pem"},
        {"tls": "required"},
        ("tls", 454, "tls", "retry", None),
    ),
    "refuses the password": (
        {"smtpd_sasl_auth_enable": "yes"},
        LOGIN,
        ("auth", 535, "authentication", "retry", "session"),
    ),
    "refuses the sender": (
        AT_ONCE | {"smtpd_sender_restrictions": "reject"},
        {},
        ("mail", 554, "policy", "fail", "sender"),
    ),
    "wants the login that owns the sender": (
        AT_ONCE
        | {
            "smtpd_sasl_auth_enable": "yes",
            "smtpd_sender_login_maps": "static:owner",
            "smtpd_sender_restrictions": "reject_sender_login_mismatch",
        },
        {},
        ("mail", 553, "configuration", "retry", "session"),
    ),
    "wants small messages": (
        {"message_size_limit": "10"},
        {},
        ("mail", 552, "too_large", "fail", "message"),
    ),
    "does not relay": (
        {"smtpd_relay_restrictions": "reject_unauth_destination"},
        {},
        ("rcpt", 554, "configuration", "retry", None),
    ),
}


async def test_postfix_that_refuses_is_understood(new_pool: NewPool) -> None:
    wrong = []
    async with postfix({name: settings for name, (settings, _, _) in CASES.items()}) as ports:
        for name, (_, given, wanted) in CASES.items():
            pool = new_pool(ports[name], **given)
            reply = (await send(pool, "b@elsewhere.example"))["b@elsewhere.example"]
            await pool.close()
            found = CLASSIFIER.classify(reply)
            got = (reply.phase, reply.code, found.reply_class, found.action, found.about)
            if got != wanted:
                wrong.append((name, reply, found))
    assert wrong == []


WAYS: dict[str, dict[str, str]] = {
    "no extensions": {"smtpd_discard_ehlo_keywords": "pipelining, chunking"},
    "no BDAT": {"smtpd_discard_ehlo_keywords": "chunking"},
    "no certificate": {
        "smtpd_tls_security_level": "may",
        "smtpd_tls_cert_file": "/nowhere/cert.pem",
    },
    "one connection": {
        "smtpd_client_connection_count_limit": "1",
        "smtpd_client_event_limit_exceptions": "",
    },
    "three recipients": {"smtpd_recipient_limit": "3"},
    "three errors": {
        "smtpd_hard_error_limit": "3",
        "smtpd_recipient_restrictions": "check_recipient_access inline:{x@example.org=REJECT,"
        " y@example.org=REJECT, z@example.org=REJECT}, permit",
    },
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ways() -> AsyncIterator[dict[str, int]]:
    """The ports of a Postfix that behaves in these ways."""
    async with postfix(WAYS) as ports:
        yield ports


def classified(replies: dict[str, Reply]) -> dict[str, Classification]:
    return {address: CLASSIFIER.classify(reply) for address, reply in replies.items()}


async def test_postfix_without_an_extension_takes_mail(
    new_pool: NewPool, ways: dict[str, int]
) -> None:
    for way in ("no extensions", "no BDAT"):
        pool = new_pool(ways[way])
        for _ in range(2):
            replies = await send(pool, "a@example.org", "b@example.org")
            assert {reply.code for reply in replies.values()} == {250}
        assert pool.connections.open == 1


async def test_opportunistic_tls_that_postfix_does_not_manage_leads_to_plain_text(
    new_pool: NewPool, ways: dict[str, int]
) -> None:
    pool = new_pool(ways["no certificate"])
    assert (await send(pool, "a@example.org"))["a@example.org"].code == 250


async def test_postfix_that_allows_one_connection_gets_all_mail_over_it(
    new_pool: NewPool, ways: dict[str, int]
) -> None:
    port = ways["one connection"]
    pool = new_pool(port, max_connections=5, connect_timeout=20)
    answers = await asyncio.gather(*(send(pool, f"r{n}@example.org") for n in range(20)))
    assert {reply.code for answer in answers for reply in answer.values()} == {250}
    await pool.close()
    async with greeted(port):
        found = classified(await send(new_pool(port), "a@example.org"))["a@example.org"]
    assert found.about == "connections" and found.action == "retry"


@asynccontextmanager
async def greeted(port: int) -> AsyncIterator[None]:
    """The only connection. Postfix may still count those that have ended."""
    greeting, ended = b"", False
    while not ended:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.timeout(20):
                greeting = await reader.readline()
            if greeting.startswith(b"220"):
                yield
                ended = True
        finally:
            writer.close()
            await writer.wait_closed()


async def test_postfix_that_takes_three_recipients_refuses_the_others_as_too_many(
    new_pool: NewPool, ways: dict[str, int]
) -> None:
    to = [f"r{n}@example.org" for n in range(5)]
    found = classified(await send(new_pool(ways["three recipients"]), *to))
    assert [found[address].action for address in to] == ["deliver"] * 3 + ["split"] * 2


async def test_postfix_that_hangs_up_after_three_errors_loses_nobody(
    new_pool: NewPool, ways: dict[str, int]
) -> None:
    """It says 421 in the middle of the recipients."""
    to = ["a@example.org", "x@example.org", "y@example.org", "z@example.org", "b@example.org"]
    found = classified(await deliver(new_pool(ways["three errors"]), tuple(to)))
    assert [found[address].action for address in to] == ["deliver", *["fail"] * 3, "deliver"]
