"""The command line as its user calls it: each command in a process of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

from babygun.runtime.settings import Settings
from tests.support import warm
from tests.support.processes import PATIENCE, environment
from tests.support.warm import Result

__all__ = ["Command", "Result"]


class Command:
    """Runs ``babygun …`` in ``folder`` with these settings and further variables."""

    def __init__(self, settings: Settings, folder: Path, **variables: str) -> None:
        self.settings, self.folder, self.variables = settings, folder, variables

    async def __call__(self, *words: str, stdin: bytes = b"") -> Result:
        env = environment(self.settings) | self.variables
        async with asyncio.timeout(PATIENCE):
            result = await warm.run(words, env, str(self.folder), stdin)
        assert "Traceback" not in result.error, result.error
        return result
