"""A small installation in which the documented calls are made: a shop, its e-mail, an operator."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import dns.flags
import dns.message
import dns.rcode

from babygun.api.access.fields import CLIENT_ID
from babygun.api.emails.fields import EMAIL_ID
from babygun.api.http.routes import Route
from babygun.email.model import TlsResult
from babygun.email.tries import RecipientResult
from babygun.pki.sealing import new_key
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.access.clients import create_client
from babygun.store.records import Client, Scope
from tests.support.api import SEND_AND_READ, RunningApi, running, until_ready
from tests.support.dns_servers import scripted
from tests.support.tries import WORKER, finished

ADDRESS = "ann@example.org"
EMAIL: dict[str, Any] = {
    "sender": "shop@example.com",
    "to": "Ann <ann@example.org>",
    "subject": "Your order",
    "body": "Thank you!\n",
    "headers": {"X-Order": "4711"},
    "attachments": [
        {
            "filename": "invoice.txt",
            "content_type": "text/plain; charset=utf-8",
            "content": "NDcxMTogMTIuMDAgRVVSCg==",
        }
    ],
    "tags": ["order"],
    "metadata": {"order": "4711"},
}
TAKEN = RecipientResult("deliver", "delivered", 250, "2.0.0", "Ok: queued as 4F2A91C03D")
BOUNCED = RecipientResult("fail", "bad_mailbox", 550, "5.1.1", "No such user", suppress=True)
LATER = RecipientResult("retry", "greylisted", 451, "4.7.1", "Greylisted, try again later")
TLS = TlsResult(version="1.3", cipher="TLS_AES_256_GCM_SHA384", verified="pkix")
_THEN = datetime(2026, 11, 25, 9, tzinfo=UTC)  # when the documented calls are made
_TIME = re.compile(r"\b20\d\d-\d\d-\d\dT[\d:.]+Z")
_OPERATORS: tuple[str | None, ...] = ("admin", "workers:read")


Before = Callable[["World"], Awaitable[object]]


@dataclass(frozen=True)
class Needs:
    """What a documented call needs, to be answered as documented.

    ``before``: what happens before. ``free``: fields of the answer that only what happened before
    determines; they are compared by kind. ``number``: of the example of the request. ``request``:
    one that is no example. ``settings``: other ones. ``cut``: the answer is documented in part.
    """

    before: Before | None = None
    free: tuple[str, ...] = ()
    number: int = 0
    request: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    cut: bool = False


@dataclass
class World:
    """``names``: what stands for names of the documents here, such as ids."""

    api: RunningApi
    store: Store
    shop: Client
    token: str  # of the documented call
    shops_token: str
    names: dict[str, str]
    _shift: timedelta = field(default_factory=lambda: utc_now() - _THEN)

    async def email(self, name: str = EMAIL_ID, **changes: Any) -> str:
        """A new e-mail of the shop, which the documents call by this id. Returns its real id."""
        body = {field: value for field, value in (EMAIL | changes).items() if value is not None}
        answer = await self.api.call("POST", "/emails", token=self.shops_token, json=body)
        assert answer.status == 202, answer.text
        self.names[name] = email_id = answer.json["id"]
        return str(email_id)

    async def tried(self, result: RecipientResult = TAKEN, name: str = EMAIL_ID) -> None:
        """Makes a try of an e-mail to Ann alone."""
        await finished(self.store, self.names[name], {ADDRESS: result}, tls=TLS)

    async def delivered(self, name: str = EMAIL_ID, **changes: Any) -> None:
        await self.email(name, **changes)
        await self.tried(name=name)

    async def called(self, method: str, path: str, json: Any = None) -> Any:
        """The answer to a call before the documented one, with the same token."""
        arguments = {} if json is None else {"json": json}
        answer = await self.api.call(method, path, token=self.token, **arguments)
        assert answer.status < 300, answer.text
        return answer.json

    async def erased(self) -> None:
        """All data of Ann."""
        made = await create_client(self.store, name="operator", scopes=("admin",))
        token = await self.api.token_of(*made)
        answer = await self.api.call("DELETE", f"/recipients/{ADDRESS}", token=token)
        assert answer.json["deleted"] == 1, answer.text

    def later(self, text: str) -> str:
        """A document's text with its times moved, as if its calls were made now."""
        return _TIME.sub(self._moved, text)

    def _moved(self, found: re.Match[str]) -> str:
        at = datetime.fromisoformat(found[0]) + self._shift
        return at.isoformat().replace("+00:00", "Z")

    def real(self, request: str) -> str:
        """A documented request with the names and times that it has here."""
        request = self.later(request)
        for name, value in self.names.items():
            request = request.replace(name, value)
        return request

    async def sent(self, request: str, *, like: str) -> str:
        """The answer, as the documents write one. Of a stream: as much as ``like`` has."""
        head, _, body = request.partition("\n\n")
        (first, *lines) = head.split("\n")
        method, path, _ = first.split()
        headers = dict(line.split(": ", 1) for line in lines if not line.startswith("Host:"))
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                method, self.api.url + path, headers=headers, data=body.encode() or None
            ) as response,
        ):
            media_type = response.headers.get("Content-Type", "").partition(";")[0]
            text = ""
            if media_type == "text/event-stream":
                while text.count("\n\n") < like.count("\n\n"):
                    block = (await response.content.readuntil(b"\n\n")).decode()
                    text += block if "event: alive" not in block else ""
            else:
                text = await response.text()
        answer = f"HTTP/1.1 {response.status} {response.reason}"
        if text:
            answer += f"\nContent-Type: {media_type}\n\n" + text.replace("\r\n", "\n").rstrip("\n")
        return answer


def missing(query: dns.message.QueryMessage, _by_tcp: bool) -> dns.message.Message:
    """NXDOMAIN to all."""
    answer = dns.message.make_response(query)
    answer.flags |= dns.flags.RA
    answer.set_rcode(dns.rcode.NXDOMAIN)
    return answer


@asynccontextmanager
async def world_of(
    route: Route, needs: Needs, settings: Settings, store: Store
) -> AsyncIterator[World]:
    """The world of one call, with all that it needs.

    The operator's calls are made by another client than the shop.
    """
    of_operator = route.scope in _OPERATORS
    more: tuple[Any, ...] = () if of_operator or route.scope in (None, "any") else (route.scope,)
    scopes: tuple[Scope, ...] = tuple(dict.fromkeys((*SEND_AND_READ, *more)))
    shop, secret = await create_client(store, name="shop", scopes=scopes, client_id=CLIENT_ID)
    async with scripted(missing) as resolver:
        settings = replace(
            settings,
            resolvers=(resolver,),
            secrets_keys=(new_key(),),
            warm_up="both",
            warm_up_table=(50, 100, 200),
            source_addresses=("192.0.2.7",),
            **needs.settings,
        )
        async with running(settings, store) as api:
            await until_ready(api)
            token = shops_token = await api.token_of(shop, secret)
            if of_operator:
                wanted: Any = (route.scope,)
                operator = await create_client(
                    store, name="console", scopes=wanted, client_id="console"
                )
                token = await api.token_of(*operator)
            names = {
                "<token>": token,
                "<the secret that clients create printed>": secret,
                "mail-1-8f3a1c9e20": WORKER,
            }
            world = World(api, store, shop, token, shops_token, names)
            if needs.before is not None:
                await needs.before(world)
            yield world
