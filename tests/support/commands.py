"""The command line as its user calls it: each command in a process of its own."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import NamedTuple

from babygun.runtime.settings import Settings
from tests.support.paths import ROOT
from tests.support.processes import PATIENCE, environment


class Result(NamedTuple):
    status: int
    out: str
    error: str


class Command:
    """Runs ``babygun …`` in ``folder`` with these settings and further variables."""

    def __init__(self, settings: Settings, folder: Path, **variables: str) -> None:
        self.settings, self.folder, self.variables = settings, folder, variables

    async def __call__(self, *words: str, stdin: bytes = b"") -> Result:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "babygun", *words),
            env=environment(self.settings) | {"PYTHONPATH": str(ROOT)} | self.variables,
            cwd=self.folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE):
            out, error = await process.communicate(stdin)
        assert b"Traceback" not in error, error.decode()
        assert process.returncode is not None
        return Result(process.returncode, out.decode(), error.decode())
