"""Mail straight to the hosts of its domain: real DNS, real sockets, hosts that fail."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from babygun.email.log import entries_in_record
from babygun.email.model import Email, Recipient, TlsResult
from babygun.routing.mx_destinations import MxDestination, MxDestinations
from babygun.runtime.settings import Settings
from babygun.worker import delivery
from tests.smtp.scripted import Peer, ScriptedServer
from tests.support.certificates import Authority, Pem
from tests.support.dns_servers import failing, scripted, serving
from tests.support.etcd_server import free_ports
from tests.support.policy_host import policy_host
from tests.support.rig import Rig, quick, rig_for
from tests.support.smtp_server import MisbehavingServer

ONE, TWO, THREE, SIX = "127.0.0.81", "127.0.0.82", "127.0.0.83", "::1"
ZONE = """\
two MX 10 mx1.two
two MX 20 mx2.two
mx1.two A 127.0.0.81
mx2.two A 127.0.0.82
both MX 10 mx.both
mx.both A 127.0.0.82
mx.both AAAA ::1
refuses MX 10 mx1.two
strict MX 10 mx1.two
no-mail MX 0 .
plain A 127.0.0.82
loop MX 10 mx.loop
six AAAA ::1
mx.loop A 0.0.0.0
"""
IPV6 = b"550-5.7.1 [2001:db8::1] Our system has detected that this message does\r\n"
IPV6 += b"550 5.7.1 not meet IPv6 sending guidelines regarding PTR records and authentication\r\n"


class World:
    """``rig`` sends straight to mail hosts. All servers listen on one port."""

    def __init__(self, rig: Rig, port: int, stack: AsyncExitStack) -> None:
        self.rig, self.port, self._stack = rig, port, stack

    async def server(self, host: str, **fields: Any) -> MisbehavingServer:
        server = MisbehavingServer(port=self.port, **fields)
        server.host = host
        return await self._stack.enter_async_context(server)

    async def script(self, host: str, script: Callable[[Peer], Awaitable[None]]) -> ScriptedServer:
        server = ScriptedServer(script, host=host, port=self.port)
        return await self._stack.enter_async_context(server)

    async def recipient(self, address: str, **changes: Any) -> Recipient:
        """What becomes of an e-mail to the address in one try."""
        async with self.rig.worker(**changes):
            [recipient] = (await self.tried(address)).recipients
            return recipient

    async def tried(self, address: str) -> Email:
        """An e-mail to the address after its first try, by a worker that runs."""
        email_id = await self.rig.send(address)
        await self.rig.seen(
            self.rig.store.keys.email(email_id), lambda value: True if _tried(value) else None
        )
        return await self.rig.get(email_id)


def _tried(value: bytes) -> bool:
    return b"deferred" in value or b"delivered" in value or b"bounced" in value


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    (port,) = free_ports(1)
    async with (
        AsyncExitStack() as stack,
        scripted(failing) as broken,
        serving({"example": ZONE}, stubs={"broken.example": broken}) as resolver,
        rig_for(
            quick(
                settings,
                {},
                default="mx",
                resolvers=(resolver,),
                mx_port=port,
                allow_networks=(ip_network("127.0.0.0/8"), ip_network("::1/128")),
            )
        ) as rig,
    ):
        yield World(rig, port, stack)


def saying(greeting: bytes) -> Callable[[Peer], Awaitable[None]]:
    async def script(peer: Peer) -> None:
        peer.say(greeting)
        await peer.reader.readline()

    return script


async def test_second_host_takes_the_mail_in_the_same_try_and_is_named(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.script(ONE, saying(b"554 5.7.1 Not from you\r\n"))
    await world.server(TWO)
    with caplog.at_level(logging.INFO, "babygun"):
        recipient = await world.recipient("ann@two.example")
    named = f"mx2.two.example[{TWO}]:{world.port}"
    assert (recipient.status, recipient.tries, recipient.status_code) == ("delivered", 1, 250)
    assert recipient.status_reason is not None and recipient.status_reason.endswith(f"({named})")
    [finished] = [each for each in caplog.records if each.message == "try finished"]
    assert finished.fields["server"] == named  # type: ignore[attr-defined]


async def test_mail_that_no_host_takes_is_deferred_and_both_are_named(world: World) -> None:
    await world.script(TWO, saying(b"554 5.7.1 blocked by a list\r\n"))
    recipient = await world.recipient("ann@two.example")
    assert (recipient.status, recipient.status_code) == ("deferred", 554)
    reason = recipient.status_reason or ""
    assert f"mx2.two.example[{TWO}]" in reason and f"mx1.two.example[{ONE}]" in reason
    assert "Connection refused" in reason and "blocked by a list" in reason


async def test_hosts_that_all_take_no_mail_bounce_it(world: World) -> None:
    for host in (ONE, TWO):
        await world.script(host, saying(b"521 5.3.2 Takes no mail\r\n"))
    recipient = await world.recipient("ann@two.example")
    assert (recipient.status, recipient.status_code) == ("bounced", 521)


@pytest.mark.parametrize(
    ("domain", "status", "code", "reply_class"),
    [
        ("no-mail", "bounced", 556, "bad_domain"),
        ("loop", "deferred", 554, "bad_domain"),
        ("absent", "deferred", 556, "bad_domain"),
        ("x.broken", "deferred", None, "dns"),
    ],
)
async def test_domain_without_a_host_ends_as_dns_says(
    world: World, domain: str, status: str, code: int | None, reply_class: str
) -> None:
    recipient = await world.recipient(f"ann@{domain}.example")
    assert (recipient.status, recipient.status_code, recipient.reply_class) == (
        status,
        code,
        reply_class,
    )


async def test_domain_whose_only_address_is_forbidden_bounces_at_the_second_look(
    world: World,
) -> None:
    async with world.rig.worker(mx_retry_intervals=(0.05,), mx_expires_after=10.0):
        [email] = await world.rig.ended(await world.rig.send("ann@loop.example"))
    [recipient] = email.recipients
    assert (recipient.status, recipient.tries, recipient.enhanced_code) == ("bounced", 2, "5.4.6")


async def test_hosts_that_no_source_address_reaches_defer_the_mail_and_name_the_setting(
    world: World,
) -> None:
    recipient = await world.recipient("ann@six.example", source_addresses=("127.0.0.1",))
    assert (recipient.status, recipient.reply_class) == ("deferred", "configuration")
    assert "source_addresses has none of these here" in (recipient.status_reason or "")


async def test_site_lookup_that_crashes_leaves_the_mail_to_its_try_which_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the queue would wait for its site for ever."""

    async def broken(*_: object) -> MxDestination:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(MxDestinations, "find", broken)
    recipient = await world.recipient("ann@two.example")
    assert (recipient.status, recipient.reply_class) == ("deferred", "internal")
    assert "a fault of ours" in (recipient.status_reason or "")


async def test_domain_without_mx_gets_its_mail_at_its_own_address(world: World) -> None:
    await world.server(TWO)
    assert (await world.recipient("ann@plain.example")).status == "delivered"


async def test_ipv6_address_that_is_refused_is_replaced_by_ipv4_in_the_same_try(
    world: World,
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.hear("MAIL", "RCPT", "DATA")
        peer.say(b"250 ok\r\n250 ok\r\n354 go\r\n")
        await peer.message()
        peer.say(IPV6)
        await peer.reader.readline()

    six = await world.script(SIX, script)
    await world.server(TWO)
    recipient = await world.recipient("ann@both.example")
    assert (recipient.status, recipient.tries) == ("delivered", 1)
    assert TWO in (recipient.status_reason or "") and six.connections == 1


async def test_connection_that_nobody_verified_is_never_used_for_a_domain_that_demands_it(
    world: World,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery, "_MX_IDLE", 60.0)
    ours, stranger = Authority(tmp_path / "ours"), Authority(tmp_path / "stranger")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*stranger.sign("mx", hosts=("mx1.two.example",)))
    server = await world.server(ONE, starttls=context)
    demands = {"strict.example": ["mx1.two.example"]}
    async with world.rig.worker(tls_policies=demands, sts_ca=str(ours.ca)):
        with caplog.at_level(logging.WARNING, "babygun"):
            first = await world.tried("ann@refuses.example")
            strict = await world.tried("ann@strict.example")
            again = await world.tried("bob@refuses.example")
    assert [each.session for each in server.messages] == [1, 1] and server.sessions == 2
    got = first.queues["mx:refuses.example"].tls
    assert got is not None and (got.policy, got.version, got.verified) == ("none", "1.3", None)
    assert again.queues["mx:refuses.example"].tls == got
    [recipient] = strict.recipients
    assert (recipient.status, recipient.reply_class) == ("deferred", "tls_policy")
    reason = "The domain's MTA-STS policy is violated: TLS handshake failed: "
    assert (recipient.status_reason or "").startswith(reason)
    assert strict.queues["mx:strict.example"].tls == TlsResult(
        "sts", failure="certificate-not-trusted", connected=False
    )
    [violated] = [each for each in caplog.records if each.message == "tls policy violated"]
    fields = violated.fields  # type: ignore[attr-defined]
    assert (fields["queue"], fields["policy"]) == ("mx:strict.example", "sts")


async def test_host_that_shows_what_the_policy_demands_gets_the_mail(
    world: World, tmp_path: Path
) -> None:
    ours = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*ours.sign("mx", hosts=("mx1.two.example",)))
    server = await world.server(ONE, starttls=context)
    await world.server(TWO)
    demands = {"two.example": ["mx1.two.example"]}
    async with world.rig.worker(tls_policies=demands, sts_ca=str(ours.ca)):
        email = await world.tried("ann@two.example")
        await server.stop()
        other = await world.tried("ann@two.example")
    got = email.queues["mx:two.example"].tls
    assert got is not None and (got.policy, got.version, got.verified) == ("sts", "1.3", "pkix")
    [attempt] = entries_in_record(email)[-1].attempts
    assert attempt.tls == got
    [recipient] = other.recipients  # the second host is not named by the policy
    assert (recipient.status, recipient.reply_class) == ("deferred", "tls_policy")
    assert "no line mx of the policy names mx2.two.example" in (recipient.status_reason or "")


@pytest.mark.parametrize(
    ("mode", "host", "taken", "got"),
    [
        ("enforce", "a.example", True, ("sts", "pkix", "")),
        ("enforce", "other.example", False, ("sts", None, "certificate-host-mismatch")),
        ("testing", "other.example", True, ("sts_testing", None, "certificate-host-mismatch")),
        ("none", "other.example", True, ("none", None, "")),
    ],
)
async def test_policy_that_a_domain_publishes_is_kept_to(
    settings: Settings,
    tmp_path: Path,
    mode: str,
    host: str,
    taken: bool,
    got: tuple[str, str | None, str],
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def certificates(authority: Authority) -> Pem:
        context.load_cert_chain(*authority.sign("mx", hosts=(host,)))
        return authority.sign("policy", hosts=("mta-sts.a.example",))

    async with (
        policy_host(settings, tmp_path, certificate=certificates) as published,
        MisbehavingServer(starttls=context) as server,
        rig_for(quick(published.settings, {}, mx_port=server.port)) as rig,
        rig.worker(),
    ):
        published.policy = f"version: STSv1\nmode: {mode}\nmx: a.example\nmax_age: 86400\n"
        email_id = await rig.send("ann@a.example")
        await rig.seen(
            rig.store.keys.email(email_id), lambda value: True if _tried(value) else None
        )
        email = await rig.get(email_id)
        assert len(server.messages) == taken
    [recipient] = email.recipients
    assert recipient.reply_class == ("delivered" if taken else "tls_policy")
    tls = email.queues["mx:a.example"].tls
    assert tls is not None and (tls.policy, tls.verified, tls.failure) == got
    assert tls.connected is taken and bool(tls.version) is taken
