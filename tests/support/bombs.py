"""What bombs do: see scripts/attack/bombs.py for the requests."""

from __future__ import annotations

import asyncio
import zlib

import pytest

from tests.support.processes import PATIENCE


def inflated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each stream that this process begins to inflate from now on."""
    begun: list[int] = []
    begin = zlib.decompressobj

    def counting(bits: int = zlib.MAX_WBITS, *, wbits: int | None = None) -> object:
        begun.append(1)
        return begin(bits if wbits is None else wbits)

    monkeypatch.setattr(zlib, "decompressobj", counting)
    return begun


async def status_of(port: int, request: bytes) -> int:
    """The status that a server on this machine answers; the connection ends with that."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        async with asyncio.timeout(PATIENCE):
            return int((await reader.readline()).split()[1])
    finally:
        writer.transport.abort()
