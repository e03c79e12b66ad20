"""Recipient domains with MTA-STS policies that are enforced: their policy host and mail hosts.

p0…p9.policy.example   mx.policy.example: it has TLS, as the policy demands
b0…b2.broken.example   mx.broken.example: it has none, so nothing may go there
"""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from babygun.pki.authority import Authority
from babygun.pki.layout import WantedCertificate
from scripts.chaos import tls_reports
from scripts.chaos.history import Recorder
from scripts.chaos.name_server import quoted
from scripts.chaos.receivers import Receiver

GOOD_DOMAINS = tuple(f"p{number}.policy.example" for number in range(10))
BROKEN_DOMAINS = tuple(f"b{number}.broken.example" for number in range(3))
POLICY_DOMAINS = (*GOOD_DOMAINS, *BROKEN_DOMAINS)
_GOOD, _BROKEN = "mx.policy.example", "mx.broken.example"
_ADDRESSES = {_GOOD: "127.0.2.2", _BROKEN: "127.0.2.3"}
_POLICY_ADDRESS = "127.0.2.4"


class Policies:
    """``good``, ``broken``: the mail hosts. ``folder``: for their certificates."""

    def __init__(self, recorder: Recorder, port: int, https_port: int, folder: Path) -> None:
        self._recorder, self._answering = recorder, asyncio.Event()
        self._failing = False
        self.good = Receiver(_GOOD, recorder, address=_ADDRESSES[_GOOD], port=port)
        self.broken = Receiver(_BROKEN, recorder, address=_ADDRESSES[_BROKEN], port=port)
        self._https_port = https_port
        self._runner: web.AppRunner | None = None
        authority, now = Authority(folder, "chaos"), datetime.now(UTC)
        list(authority.ensure(now))
        hosts = tuple(f"mta-sts.{domain}" for domain in POLICY_DOMAINS)
        self._context = _context(authority, folder, "policy-host", hosts, now)
        self.good.tls = _context(authority, folder, "mail-host", (_GOOD,), now)
        self._ca = folder / "ca.pem"
        self.answer()

    @property
    def receivers(self) -> list[Receiver]:
        return [self.good, self.broken]

    def records(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """What the DNS says of all of them."""
        found: dict[tuple[str, str], tuple[str, ...]] = {
            (host, "A"): (address,) for host, address in _ADDRESSES.items()
        }
        for domain in POLICY_DOMAINS:
            found[domain, "MX"] = (f"10 {host_of(domain)}.",)
            found[f"_mta-sts.{domain}", "TXT"] = (quoted("v=STSv1; id=a1;"),)
            found[f"mta-sts.{domain}", "A"] = (_POLICY_ADDRESS,)
            uri = f"https://mta-sts.{domain}:{self._https_port}/report"
            found[f"_smtp._tls.{domain}", "TXT"] = (quoted(f"v=TLSRPTv1; rua={uri}"),)
        return found

    def settings(self) -> dict[str, str]:
        """What Babygun's processes need to know."""
        return {
            "BABYGUN_STS_CA": str(self._ca),
            "BABYGUN_STS_PORT": str(self._https_port),
            **tls_reports.settings(),
        }

    async def start_host(self) -> None:
        """The policy host listens, unless it does."""
        if self._runner is not None:
            return
        app = web.Application()
        app.router.add_get("/.well-known/mta-sts.txt", self._policy)
        app.router.add_post("/report", self._report)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, _POLICY_ADDRESS, self._https_port, ssl_context=self._context
        )
        await site.start()

    async def stop_host(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def heal(self) -> None:
        """Undoes what faults may have left."""
        self.answer()
        await self.start_host()

    def answer(self) -> None:
        """The policy host answers from now on."""
        self._failing = False
        self._answering.set()

    def fail(self) -> None:
        """It answers with an error."""
        self._failing = True

    def stall(self) -> None:
        """It takes requests, and says nothing until it answers again."""
        self._answering.clear()

    async def _policy(self, request: web.Request) -> web.Response:
        await self._answering.wait()
        if self._failing:
            return web.Response(status=503)
        host = host_of(request.host.partition(":")[0].removeprefix("mta-sts."))
        return web.Response(text=f"version: STSv1\nmode: enforce\nmx: {host}\nmax_age: 86400\n")

    async def _report(self, request: web.Request) -> web.Response:
        body = await request.read()
        await self._answering.wait()
        status = 503 if self._failing else 201
        tls_reports.record(self._recorder, body, status)
        return web.Response(status=status)


def host_of(domain: str) -> str:
    """The mail host of a domain."""
    return _BROKEN if domain in BROKEN_DOMAINS else _GOOD


def _context(
    authority: Authority, folder: Path, name: str, hosts: tuple[str, ...], now: datetime
) -> ssl.SSLContext:
    """What a server of these names shows."""
    authority.sign(folder, WantedCertificate(name, "chaos", server=True, names=hosts), now)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}-key.pem")
    return context
