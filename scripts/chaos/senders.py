"""The sending domains of a run: made by the API, with their records in the run's own DNS."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import dkim

from babygun.pki.sealing import new_key
from scripts.bench.processes import BenchError
from scripts.chaos.name_server import NameServer, quoted

HELD = ("held0.example", "held1.example", "held2.example")
ED25519 = HELD[1]  # it has a key of each algorithm
RETURN_HOST = "bounces.chaos.example"
_PATIENCE = 10.0  # s, for one call
_WITHIN = 90.0  # s, for a change, whatever happens to API processes meanwhile


def settings(port: int) -> dict[str, str]:
    """What Babygun's processes need to know. ``port``: to which mail comes back."""
    return {
        "BABYGUN_SECRETS_KEYS": new_key(),
        "BABYGUN_BOUNCE_HOSTNAME": RETURN_HOST,
        "BABYGUN_BOUNCE_HOST": "127.0.0.1",
        "BABYGUN_BOUNCE_PORT": str(port),
        "BABYGUN_BOUNCE_CONNECTIONS": "2000",  # all come from one address
    }


class Senders:
    """``urls``: asked for the URLs of the API. ``client``: its id and secret."""

    def __init__(
        self,
        name_server: NameServer,
        urls: Callable[[], Sequence[str]],
        client: Callable[[], tuple[str, str]],
    ) -> None:
        self._dns, self._urls, self._client = name_server, urls, client
        self._dns.publish({(RETURN_HOST, "A"): ("127.0.0.1",)})

    async def make(self) -> None:
        """Makes all domains. Raises BenchError if one is not verified."""
        async with aiohttp.ClientSession() as session:
            for name in HELD:
                body = {"name": name, "ed25519": name == ED25519}
                await self._published(session, name, "/domains", body)

    async def rotate(self, name: str) -> None:
        """Gives a domain new DKIM keys, which sign from now on. Old records stay in DNS."""
        async with aiohttp.ClientSession() as session:
            await self._published(session, name, f"/domains/{name}/rotate", {})

    async def _published(
        self, session: aiohttp.ClientSession, name: str, path: str, body: dict[str, Any]
    ) -> None:
        """Makes a call that wants records, publishes them, and has them looked up."""
        domain = await self._call(session, path, body)
        self._dns.publish(
            {
                (one["name"], one["type"]): (
                    f"{one['value']}." if one["type"] == "MX" else quoted(one["value"]),
                )
                for one in domain["records"]
            }
        )
        domain = await self._call(session, f"/domains/{name}/verify", {})
        new = [one["name"] for one in domain["selectors"] if one["state"] == "new"]
        if domain["status"] != "verified" or new:
            sentences = [f"{one['name']}: {one['sentence']}" for one in domain["records"]]
            raise BenchError(f"{name} is {domain['status']}: {sentences}")

    async def _call(
        self, session: aiohttp.ClientSession, path: str, body: dict[str, Any]
    ) -> dict[str, Any]:
        """Calls one API process after the other, until one does it."""
        async with asyncio.timeout(_WITHIN):
            for url in itertools.cycle(self._urls()):
                with suppress(aiohttp.ClientError, OSError, TimeoutError):
                    async with asyncio.timeout(_PATIENCE):
                        found, status = await self._ask(session, url, path, body)
                        if status in (200, 201):
                            return found
                        if status == 409:  # made by a call whose answer was lost
                            path = f"/domains/{body['name']}/rotate"
                await asyncio.sleep(0.2)
        raise AssertionError("a cycle does not end")

    async def _ask(
        self, session: aiohttp.ClientSession, url: str, path: str, body: dict[str, Any]
    ) -> tuple[dict[str, Any], int]:
        client_id, secret = self._client()
        given = {"client_id": client_id, "client_secret": secret}
        async with session.post(f"{url}/tokens", json=given) as answer:
            token = (await answer.json()).get("token", "")
        headers = {"Authorization": f"Bearer {token}"}
        async with session.post(f"{url}{path}", json=body, headers=headers) as answer:
            return await answer.json(content_type=None), answer.status


def valid_signatures(message: bytes, name_server: NameServer) -> tuple[int, tuple[str, ...]]:
    """How many DKIM signatures a message has, and the domain of each that is valid.

    dkimpy verifies: it has nothing of ours.
    """

    def published(name: bytes, timeout: int = 5) -> bytes:
        return name_server.text(name.decode()).encode()

    head = message.partition(b"\r\n\r\n")[0]
    number = sum(line.lower().startswith(b"dkim-signature:") for line in head.split(b"\r\n"))
    valid = []
    for index in range(number):
        verifier = dkim.DKIM(message)
        with suppress(dkim.DKIMException, ValueError):
            if verifier.verify(idx=index, dnsfunc=published):
                valid.append(verifier.domain.decode())
    return number, tuple(valid)
