"""The application, put together: how its services end."""

from __future__ import annotations

import asyncio

from aiohttp import web

from babygun.api.access.authenticator import KNOWN_CLIENTS
from babygun.api.app import build_app
from babygun.runtime.settings import Settings


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
        async with asyncio.timeout(20):
            await runner.cleanup()
