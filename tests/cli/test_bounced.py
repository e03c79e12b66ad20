"""``babygun bounced`` as a process: it takes mail, says how it is, and ends in order."""

from __future__ import annotations

import asyncio
from functools import partial

import aiohttp

from babygun.runtime.settings import Settings
from tests.support.bounce_server import connection_to
from tests.support.certificates import Authority
from tests.support.commands import Command
from tests.support.development import answered, status_of
from tests.support.etcd_server import free_ports
from tests.support.paths import ROOT
from tests.support.processes import babygun as started
from tests.support.rig import changed
from tests.support.scraping import Scraped


async def test_bounced_takes_messages_by_tls_shows_its_metrics_and_ends_on_sigterm(
    babygun: Command, settings: Settings, tmp_path: object
) -> None:
    pem = Authority(tmp_path).sign("bounces.example.com")  # type: ignore[arg-type]
    port, probes = free_ports(2)
    mine = changed(
        settings,
        bounce_host="127.0.0.1",
        bounce_port=port,
        bounce_hostname="bounces.example.com",
        bounce_cert=str(pem.cert),
        bounce_key=str(pem.key),
        bounce_probe_port=probes,
    )
    async with started(mine, "bounced") as process:
        await process.until("bounces awaited")
        async with aiohttp.ClientSession() as session:  # it has read the keys of return paths
            ready = partial(status_of, session, f"http://127.0.0.1:{probes}/readyz")
            await answered(ready, lambda status: status == 200)
        async with connection_to(port) as mail_server:
            assert "STARTTLS" in await mail_server.greet()
            assert "STARTTLS" not in await mail_server.start_tls()
            # No first byte of TLS may be read as a command.
            await asyncio.gather(*(_start_tls(port) for _ in range(15)))
            reply = await mail_server.give(b"hello\n", "complaints@bounces.example.com")
            assert reply == "250 2.0.0 Taken"
            reply = await mail_server.give(b"hello\n", "ann@example.org")
            assert reply.startswith("550")
        health = Command(mine, babygun.folder)
        assert (await health("health", "--timeout", "60", "bounced")).status == 0
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{probes}/metrics") as answer,
        ):
            metrics = Scraped(await answer.text())
        assert metrics.get("babygun_returned_messages_total", kind="unknown") == 1
        assert metrics.get("babygun_returned_refused_total", reason="address") == 1
        assert await process.terminate() == 0
        assert process.lines("stopped") and process.lines("returned message taken")


async def _start_tls(port: int) -> None:
    async with connection_to(port) as mail_server:
        await mail_server.greet()
        await mail_server.start_tls()


async def test_bounced_with_a_certificate_that_is_missing_says_so(babygun: Command) -> None:
    mine = changed(babygun.settings, bounce_cert="/none.pem", bounce_key="/none-key.pem")
    result = await Command(mine, babygun.folder)("bounced", "--port", "0")
    assert result.status == 2 and "bounce_cert" in result.error
    assert "/none" in result.error


async def test_health_of_bounced_without_a_port_says_what_to_set(babygun: Command) -> None:
    result = await babygun("health", "bounced")
    assert result.status != 0 and "BABYGUN_BOUNCE_PROBE_PORT" in result.error


async def test_bounced_shows_how_a_message_is_read(babygun: Command) -> None:
    folder = ROOT / "tests/data/bounces"
    result = await babygun("bounced", "--read", str(folder / "postfix-user-unknown.eml"))
    assert result.out.splitlines() == [
        "kind      bounce",
        "shape     dsn",
        "reporter  mx.relay.example",
        "recipient nobody@rcpt.example",
        "reply     550 5.1.1 <nobody@rcpt.example>: Recipient address rejected: User unknown in"
        " virtual mailbox table",
        "class     bad_mailbox",
        "suppress  the address is dead",
    ]
    result = await babygun("bounced", "--read", str(folder / "jmrp.eml"))
    assert result.out.splitlines()[:4] == [
        "kind      complaint",
        "shape     jmrp",
        "type      abuse",
        "reporter  JMRP",
    ]
    result = await babygun("bounced", "--read", "/none.eml")
    assert result.status == 2 and "/none.eml can't be read" in result.error
