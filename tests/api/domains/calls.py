"""What a client does with its sending domains."""

from __future__ import annotations

from typing import Any

from babygun.store.records import Client
from tests.support.api import Answer, RunningApi

NAME = "example.com"


class Holder:
    """A client. ``id``: without serial."""

    def __init__(self, api: RunningApi, client: Client, token: str) -> None:
        self.api, self.id, self.identity, self.token = api, client.id, client.identity, token

    async def call(self, method: str, path: str, json: Any = None) -> Answer:
        arguments = {} if json is None else {"json": json}
        return await self.api.call(method, path, token=self.token, **arguments)

    async def domain(self, name: str = NAME, **fields: Any) -> Any:
        """A new domain, as POST /domains answers."""
        answer = await self.call("POST", "/domains", {"name": name, **fields})
        assert answer.status == 201, answer.text
        return answer.json

    async def names(self, query: str = "") -> list[str]:
        answer = await self.call("GET", f"/domains{query}")
        assert answer.status == 200, answer.text
        return [one["name"] for one in answer.json["domains"]]
