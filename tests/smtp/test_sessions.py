"""Servers that refuse or break a session: the rows of ``tests/data/field/sessions.toml``."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest

from babygun.smtp import SmtpPool
from babygun.smtp.classifier import Classifier
from tests.smtp.conftest import Certificates, Limits, deliver
from tests.smtp.field_server import FieldServer
from tests.support.field import rows

NewPool = Callable[..., SmtpPool]
MODES = {"data": ["PIPELINING"], "bdat": ["PIPELINING", "CHUNKING"], "steps": []}
CASES = [
    pytest.param(row, mode, id=f"{mode}: {row['name']}")
    for row in rows("sessions", "session")
    for mode in row.get("modes", MODES)
]


@pytest.mark.parametrize(("row", "mode"), CASES)
async def test_session_that_goes_wrong_ends_as_the_table_says(
    new_pool: NewPool, certificates: Certificates, limits: Limits, row: dict[str, Any], mode: str
) -> None:
    def tls(how: str) -> ssl.SSLContext:
        return {
            "": certificates.server,
            "old": certificates.old_server,
            "wants certificate": certificates.asking_server,
        }[how]

    right, recipients = row["right"], row.get("recipients", 1)
    login = {"username": "relay-user", "password": "s3cret"} if row.get("login") else {}
    classifier = Classifier.load()
    found: list[str] = []
    offers = MODES[mode] + row.get("offers", [])
    async with FieldServer(row, offers, tls, limits.pass_soon) as server:
        pool = new_pool(
            server.port,
            tls=row.get("tls", "none"),
            idle=0 if row.get("fresh") else 30,
            **login,
        )
        for number in range(row.get("mails", 1)):
            to = tuple(f"m{number}r{n}@example.org" for n in range(recipients))
            replies = await deliver(pool, to)
            assert set(replies) == set(to)
            reply = replies[to[0]]
            about = classifier.classify(reply)
            found.append(f"{about.reply_class} {reply.code or 0}")
            assert about.action == right.get("action", about.action)
            if number == 0 and "about" in right:
                assert about.about == right["about"]
            assert "s3cret" not in reply.text
        taken = [
            f"{connection} {'tls' if encrypted else 'plain'} {len(to)}"
            for connection, encrypted, to in server.taken
        ]
        everybody = [address for _, _, to in server.taken for address in to]
        assert all(
            each in wanted.split("|") for each, wanted in zip(found, right["results"], strict=True)
        ), found
        assert taken == right["taken"], server.commands
        assert len(everybody) == len(set(everybody)), "sent twice"
        assert len(server.commands) == right.get("connections", len(server.commands))
        assert not any(right.get("never") in verbs for verbs in server.commands)
