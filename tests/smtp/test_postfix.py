"""What a real Postfix says, configured to refuse: the delivery's reply, and what it means."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from babygun.smtp import SmtpPool
from babygun.smtp.classifier import Classifier
from tests.smtp.conftest import send
from tests.support.postfix import POSTCONF, REASON, postfix

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
        ("rcpt", 554, "ip_block", "retry", None),
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
        ("rcpt", 554, "policy", "fail", None),
    ),
}


@pytest.mark.skipif(not POSTCONF, reason=REASON)  # in CI too: nobody is root there
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
