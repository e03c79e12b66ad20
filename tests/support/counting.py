"""Numbers that tests wait for."""

from __future__ import annotations

import asyncio

from tests.support.processes import PATIENCE


class Count:
    """Counts what happens in the test's own loop."""

    def __init__(self) -> None:
        self.value = 0
        self._changed = asyncio.Event()

    def add(self) -> None:
        self.value += 1
        self._changed.set()

    async def reached(self, value: int, within: float = PATIENCE) -> None:
        """Waits until so many have been counted."""
        async with asyncio.timeout(within):
            while self.value < value:
                self._changed.clear()
                await self._changed.wait()
