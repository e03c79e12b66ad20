"""Clients that have webhooks, and what waits for them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import RunningApi, basic

URL = "https://shop.example.com/webhooks/mail"


class Shop:
    """A client with webhooks. ``id``: with serial."""

    def __init__(self, api: RunningApi, id: str, token: str) -> None:
        self.api, self.id, self.token = api, id, token

    async def call(self, method: str, path: str, json: Any = None) -> Any:
        arguments = {} if json is None else {"json": json}
        return await self.api.call(method, path, token=self.token, **arguments)

    async def webhook(self, **fields: Any) -> Any:
        """A new webhook, as POST /webhooks answers."""
        answer = await self.call("POST", "/webhooks", {"url": URL, **fields})
        assert answer.status == 201, answer.text
        return answer.json


async def shop_of(api: RunningApi) -> Shop:
    client, secret = await api.client("webhooks", "emails:send", "emails:read")
    answer = await api.call("POST", "/tokens", token="", headers=basic(client.id, secret))
    return Shop(api, client.identity, answer.json["token"])


@pytest.fixture
async def shop(api: RunningApi) -> Shop:
    return await shop_of(api)


@pytest.fixture
async def other_shop(api: RunningApi) -> Shop:
    return await shop_of(api)


@pytest.fixture
async def admin(api: RunningApi) -> Shop:
    client, secret = await api.client("admin")
    answer = await api.call("POST", "/tokens", token="", headers=basic(client.id, secret))
    return Shop(api, client.identity, answer.json["token"])
