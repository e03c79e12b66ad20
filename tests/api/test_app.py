"""Where the API listens, and how it ends."""

from __future__ import annotations

import asyncio
import re
import socket
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web

from babygun.api.access.authenticator import KNOWN_CLIENTS
from babygun.api.app import build_app, serve_until
from babygun.errors import SettingsError
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.keys import range_end
from tests.support.api import running, until_ready
from tests.support.processes import PATIENCE
from tests.support.proxy import proxy_to


async def test_busy_port_ends_the_start_with_one_sentence(api_settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            SettingsError, match=re.escape(f"something listens on 127.0.0.1:{port} already")
        ):
            await serve_until(replace(api_settings, api_port=port))


async def test_address_that_is_not_ours_ends_the_start_with_one_sentence(
    api_settings: Settings,
) -> None:
    with pytest.raises(SettingsError, match=re.escape("can't listen on 192.0.2.1:0")):
        await serve_until(replace(api_settings, api_host="192.0.2.1"))


async def test_api_that_ends_while_its_known_clients_change_ends(api_settings: Settings) -> None:
    """Cancelling what waits for a change, in the very moment of one, still cancels it."""
    for ticks in range(10):
        app = build_app(api_settings)
        runner = web.AppRunner(app)
        await runner.setup()
        for changed in app[KNOWN_CLIENTS].on_change:
            changed()
        for _ in range(ticks):
            await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE):
            await runner.cleanup()


async def test_stop_finishes_what_is_in_flight(api_settings: Settings, store: Store) -> None:
    async with (
        proxy_to(api_settings.etcd_endpoints[0]) as proxy,
        running(
            replace(api_settings, etcd_endpoints=(proxy.url,), drain_timeout=60.0), store
        ) as api,
    ):
        await until_ready(api)
        api.token = await api.token_for()
        await api.send()
        proxy.swallow_answers()
        in_flight = asyncio.create_task(api.send())
        async with asyncio.timeout(PATIENCE):
            while (
                await store.client.range(
                    store.keys.emails, range_end(store.keys.emails), keys_only=True
                )
            ).count < 2:
                pass
        api.stop.set()
        with pytest.raises(aiohttp.ClientConnectionError):
            async with asyncio.timeout(PATIENCE):
                while True:
                    await api.call("GET", "/healthz", headers={"Connection": "close"})
        proxy.mend()
        assert (await in_flight).status == 202
