"""Connects to a server as the domain's policy and the route ask for it.

A policy is kept to: what violates it is no connection, unless the policy only tests. Without one,
opportunistic TLS that fails is followed by plain text.
"""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import Awaitable, Callable
from functools import partial

from msgspec.structs import replace

from babygun.email.model import TlsResult
from babygun.routing.server import Server
from babygun.routing.tls_policy import ResultType, TlsPolicy, Violation
from babygun.smtp.connect_failed import ConnectFailed, connect_failed
from babygun.smtp.connection import Connection
from babygun.smtp.handshake import Times, connect_once
from babygun.smtp.tls_checks import POLICY_NAMES, TlsSession, demand_of
from babygun.smtp.tls_contexts import TlsContexts

_Once = Callable[[Server], Awaitable[Connection]]


async def connect(
    server: Server,
    contexts: TlsContexts,
    *,
    hostname: str,
    times: Times,
    on_lost: Callable[[Connection], None],
    plain_because: str = "",
    violated: Violation | None = None,
) -> Connection:
    """A connection that is ready for MAIL. Raises ConnectFailed.

    ``plain_because``: why opportunistic TLS is to be left out; the connection has the same field.
    ``violated``: how the server violates a policy that only tests. It is known, so not tried.
    """
    once = partial(connect_once, contexts=contexts, hostname=hostname, times=times, on_lost=on_lost)
    try:
        if server.policy.kind == "none":
            connection = await _without_policy(server, once, plain_because)
        elif server.policy.testing:
            connection = await _under_test(server, once, plain_because, violated)
        else:
            connection = await _under_policy(server, once)
    except ConnectFailed as failed:
        if failed.violation is not None:
            demand, failure = demand_of(server.policy), failed.violation.result_type
            result = TlsResult(demand, failure=failure, connected=False)
            failed.sessions = (TlsSession(server, result, failed.reply.text),)
        raise
    connection.server = server
    return connection


async def _without_policy(server: Server, once: _Once, plain_because: str) -> Connection:
    """As the route's mode says. Where opportunistic TLS fails, it connects again, in plain text."""
    if server.tls != "opportunistic":
        return await once(server)
    failed = None
    if not plain_because:
        try:
            return await once(server)
        except ConnectFailed as error:
            if error.violation is None:
                raise
            if server.username:  # nobody on the way is to read the password
                text = f"{error.reply.text} (no plain text instead: the relay has a password)"
                refused = ConnectFailed(replace(error.reply, text=text))
                refused.violation = error.violation
                raise refused from error
            failed = error
            plain_because = str(error)
    connection = await once(dataclasses.replace(server, tls="none"))
    connection.plain_because = plain_because
    failure: ResultType = "validation-failure"  # of a while ago; in general
    if failed is not None and failed.violation is not None:
        connection.plain_for_long = failed.for_long
        failure = failed.violation.result_type
    connection.tls = replace(connection.tls, failure=failure)
    return connection


async def _under_policy(server: Server, once: _Once) -> Connection:
    """As the policy demands it, or not at all."""
    policy = server.policy
    if policy.violation is not None:
        failed = connect_failed("tls", "")
        failed.violation = policy.violation
        raise _violated(policy, failed)
    try:
        return await once(_strict(server))
    except ConnectFailed as error:
        if error.violation is None:
            raise
        raise _violated(policy, error) from error


async def _under_test(
    server: Server, once: _Once, plain_because: str, violated: Violation | None
) -> Connection:
    """As the policy demands it; otherwise as without it, which is noted in the result."""
    violation = server.policy.violation or violated
    if violation is None:
        try:
            return await once(_strict(server))
        except ConnectFailed as error:
            if error.violation is None:
                raise
            violation = error.violation
    connection = await _without_policy(server, once, plain_because)
    connection.tls = replace(connection.tls, failure=violation.result_type)
    connection.violation = violation
    return connection


def _strict(server: Server) -> Server:
    """The server with the mode of TLS that its policy asks for. Old versions will not do."""
    return dataclasses.replace(
        server,
        tls="required" if server.policy.kind == "sts" else "encrypted",
        tls_min="1.2" if server.tls_min == "1.0" else server.tls_min,
    )


def _violated(policy: TlsPolicy, failed: ConnectFailed) -> ConnectFailed:
    """The failure, with the policy in its text. The rules of replies know it by these words."""
    violation = failed.violation
    assert violation is not None
    text = f"The domain's {POLICY_NAMES[policy.kind]} policy is violated: {violation.text}"
    found = ConnectFailed(replace(failed.reply, text=text), number=failed.number)
    found.violation = Violation(violation.result_type, text)
    return found


async def check_server(server: Server, *, hostname: str, timeout: float) -> str:  # noqa: ASYNC109 (handed on)
    """Connects, logs in and quits. Returns what the server offers, for people.

    Raises ConnectFailed.
    """
    connection = await connect(
        server,
        TlsContexts(),
        hostname=hostname or await asyncio.to_thread(socket.getfqdn),
        times=Times(timeout, timeout, timeout),
        on_lost=lambda connection: None,
    )
    offered, tls = connection.capabilities, connection.tls
    await connection.quit()
    checked = {"pkix": "", "dane_ee": " by DANE", "dane_ta": " by DANE", None: None}[tls.verified]
    names = [
        (f"TLS {tls.version}", bool(tls.version)),
        (f"certificate checked{checked}", checked is not None),
        ("login", bool(server.username)),
        ("PIPELINING", offered.pipelining),
        ("CHUNKING", offered.chunking),
        ("8BITMIME", offered.eight_bit),
        ("SMTPUTF8", offered.smtputf8),
        (f"SIZE {offered.size}", offered.size > 0),
    ]
    if connection.plain_because:
        names.append((f"no TLS, since it failed: {connection.plain_because}", True))
    return ", ".join(name for name, has in names if has) or "no extensions"
