"""A policy host of MTA-STS over https, and a DNS that leads to it and announces policies."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from aiohttp import web

from babygun.runtime.settings import Settings
from tests.support.certificates import Authority, Pem
from tests.support.dns_servers import scripted


class PolicyHost:
    """``policy``: what it answers with; replace ``answer`` for all else. ``asked``: how often.

    ``authority``: which the settings trust. ``txt``: the TXT records of ``_mta-sts.<any domain>``;
    None: DNS says SERVFAIL. ``settings``: those by which a worker finds it.
    """

    def __init__(self, settings: Settings, authority: Authority) -> None:
        self.settings, self.authority = settings, authority
        self.policy = "version: STSv1\nmode: enforce\nmx: mx.a.example\nmax_age: 86400\n"
        self.txt: list[str] | None = ["v=STSv1; id=a1;"]
        self.address = "127.0.0.1"
        self.asked = 0
        self.answer: Callable[[web.Request], Awaitable[web.Response]] = self._policy

    async def handle(self, request: web.Request) -> web.Response:
        self.asked += 1
        return await self.answer(request)

    async def _policy(self, request: web.Request) -> web.Response:
        if request.path != "/.well-known/mta-sts.txt":
            return web.Response(status=404)
        return web.Response(text=self.policy)

    def dns(self, query: dns.message.QueryMessage, _: bool) -> dns.message.Message:
        answer = dns.message.make_response(query)
        asked = query.question[0]
        kind = dns.rdatatype.to_text(asked.rdtype)
        records = [self.address] if kind == "A" else []
        if kind == "TXT":
            if self.txt is None:
                answer.set_rcode(dns.rcode.SERVFAIL)
            records = [f'"{text}"' for text in self.txt or ()]
        if records:
            answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", kind, *records))
        else:
            soa = "ns.example. host.example. 1 3600 600 86400 60"
            answer.authority.append(dns.rrset.from_text("example.", 60, "IN", "SOA", soa))
        return answer


@asynccontextmanager
async def policy_host(
    settings: Settings, folder: Path, *, certificate: Callable[[Authority], Pem] | None = None
) -> AsyncIterator[PolicyHost]:
    """``certificate``: makes another one than that of ``mta-sts.a.example``."""
    authority = Authority(folder / "ca")
    make = certificate or (lambda ca: ca.sign("policy", hosts=("mta-sts.a.example",)))
    pem = make(authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem.cert, pem.key)
    host = PolicyHost(settings, authority)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", host.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with scripted(host.dns) as resolver:
            host.settings = replace(
                settings,
                default="mx",
                resolvers=(resolver,),
                sts_ca=str(authority.ca),
                sts_port=port,
                allow_networks=(ip_network("127.0.0.0/8"),),
            )
            yield host
    finally:
        await runner.cleanup()
