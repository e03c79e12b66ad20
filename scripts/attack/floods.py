"""Bombs and floods of requests, with figures of what they do to another call.

The other call is /healthz, asked over and over by a thread of its own. On Linux it comes from
another address than the flood, since an API process bounds the connections of each address.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from babygun.runtime.open_files import allow_open_files
from scripts.attack.bombs import MB, compressed_request, gzip_bomb, many_keys, request

PROBE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
KEPT = PROBE.replace(b"Connection: close\r\n", b"")
_OTHER_FILES = 200  # that an attacker has open beside its connections
OTHER_ADDRESS = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"
PAUSE = 0.02  # s, between two probes
APART = 0.001  # s, between the beginnings of connections that are held open
DRIP = 0.5  # s, between two bytes of a connection that drips
PATIENCE = 120.0  # s for an answer


@dataclass(frozen=True)
class Scale:
    """How large the attacks are.

    ``held`` and ``idle``: connections that stay open for ``seconds``; the idle ones were answered.
    """

    bombs: int = 50
    bomb_mb: int = 1024
    held: int = 2000
    idle: int = 10_000
    seconds: float = 5.0
    entries: int = 2_000_000


FULL = Scale()
QUICK = Scale(bombs=3, bomb_mb=64, held=30, idle=100, seconds=0.3, entries=100_000)


@dataclass
class Figures:
    """What an attack did.

    ``answers``: how many by status or word; 0: none. ``worst``: s that a probe waited; ``failed``:
    probes without a 200. ``grown``: bytes of memory that the process took beyond what it had.
    ``fault``: what else went wrong.
    """

    name: str
    answers: Counter[int | str] = field(default_factory=Counter)
    probes: int = 0
    failed: int = 0
    worst: float = 0.0
    seconds: float = 0.0
    grown: int = 0
    fault: str = ""

    def what_gave_way(self, patience: float, memory: int) -> str:
        """Why this attack did harm; empty: it did none. In seconds of a probe, and in bytes."""
        if self.fault:
            return self.fault
        if self.failed:
            return f"/healthz failed {self.failed} times"
        if self.worst > patience:
            return f"/healthz waited longer than {patience:.1f} s"
        return f"took more than {memory // MB} MiB" if self.grown > memory else ""


Attack = Callable[[], Awaitable[Figures]]


class Target:
    """A process that serves HTTP on loopback, without TLS. ``pid``: of it, to read its memory."""

    def __init__(self, url: str, pid: int = 0) -> None:
        parts = urlsplit(url)
        self.host, self.port, self.pid = parts.hostname or "127.0.0.1", parts.port or 80, pid

    async def status(
        self, sent: bytes, patience: float = PATIENCE, *, drop: bytes = b"", stays: bool = False
    ) -> int:
        """What one request is answered on a connection of its own; 0: nothing.

        ``drop``: sent again and again behind it. ``stays``: the connection is held open after the
        answer, until ``patience`` seconds are over.
        """
        status = 0
        with suppress(OSError, TimeoutError, IndexError):
            async with asyncio.timeout(patience):
                reader, writer = await asyncio.open_connection(self.host, self.port)
                dripping = asyncio.create_task(_drip(writer, drop)) if drop else None
                try:
                    writer.write(sent)
                    status = int((await reader.readline()).split()[1])
                    if stays:
                        await reader.read()
                finally:
                    if dripping is not None:
                        dripping.cancel()
                    writer.transport.abort()
        return status

    @contextmanager
    def probed(self, figures: Figures) -> Iterator[None]:
        """Asks for /healthz while the block runs, and watches the memory."""
        over, began, had = threading.Event(), time.perf_counter(), self._memory()

        def probe() -> None:
            while not over.is_set():
                started = time.perf_counter()
                figures.failed += not self._healthy()
                figures.worst = max(figures.worst, time.perf_counter() - started)
                figures.probes += 1
                figures.grown = max(figures.grown, self._memory() - had)
                over.wait(PAUSE)

        probing = threading.Thread(target=probe, name="probe")
        probing.start()
        try:
            yield
        finally:
            over.set()
            probing.join()
            figures.seconds = time.perf_counter() - began

    def _healthy(self) -> bool:
        with (
            suppress(OSError),
            socket.create_connection((self.host, self.port), PATIENCE, (OTHER_ADDRESS, 0)) as probe,
        ):
            probe.sendall(PROBE)
            return probe.recv(100).startswith(b"HTTP/1.1 200 ")
        return False

    def _memory(self) -> int:
        """Bytes that the process has now (RSS). 0 where nobody says."""
        with suppress(OSError):
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        return 0

    async def left_alone(self, scale: Scale) -> Figures:
        """The same without an attack, for comparison: this machine may be busy."""
        figures = Figures("no attack, for comparison")
        with self.probed(figures):
            await asyncio.sleep(scale.seconds)
        return figures

    async def flood(self, name: str, requests: list[bytes]) -> Figures:
        """All requests at once, each on a connection of its own."""
        figures = Figures(name)
        with self.probed(figures):
            figures.answers.update(await asyncio.gather(*map(self.status, requests)))
        return figures

    async def hold(
        self,
        name: str,
        begun: bytes,
        count: int,
        seconds: float,
        *,
        drop: bytes = b"",
        stays: bool = False,
        apart: float = APART,
    ) -> Figures:
        """So many connections that send ``begun`` for some seconds; see :meth:`status`.

        They begin one by one, ``apart`` seconds from each other. A burst of as many good calls
        would keep others waiting, too.
        """
        figures = Figures(name)

        async def hold_one(number: int) -> int:
            await asyncio.sleep(number * apart)
            return await self.status(begun, seconds, drop=drop, stays=stays)

        with self.probed(figures):
            figures.answers.update(await asyncio.gather(*map(hold_one, range(count))))
        return figures


async def _drip(writer: asyncio.StreamWriter, drop: bytes) -> None:
    while True:
        await asyncio.sleep(DRIP)
        writer.write(drop)


def attacks(target: Target, token: str, scale: Scale) -> list[Attack]:
    """Every attack on the API. Without a token, those that need one are left out."""
    bomb = gzip_bomb(scale.bomb_mb)

    def bombs(path: str, token: str = "") -> Attack:
        name = f"{scale.bombs} gzip bombs to {path}{' with a token' if token else ''}"
        made = compressed_request(bomb, path=path, token=token)
        return lambda: target.flood(name, [made] * scale.bombs)

    def held(what: str, begun: bytes, drop: bytes = b"") -> Attack:
        name = f"{scale.held:,} {what} {'dripped' if drop else 'held open'}"
        return lambda: target.hold(name, begun, scale.held, scale.seconds, drop=drop)

    def idle() -> Attack:
        count = min(scale.idle, allow_open_files(scale.idle + _OTHER_FILES) - _OTHER_FILES)
        name = f"{count:,} connections idle after an answer"
        apart = 2 * APART  # each makes a whole call
        until_all = count * apart + scale.seconds
        return lambda: target.hold(name, KEPT, count, until_all, stays=True, apart=apart)

    def begun(size: int, path: str, token: str = "", missing: int = 1) -> bytes:
        return request(b" " * size, path=path, token=token, length=size + missing)

    def entries(field: str) -> Attack:
        made = request(many_keys(field, scale.entries), token=token)
        return lambda: target.flood(f"4 e-mails of {scale.entries:,} {field}", [made] * 4)

    found = [
        *map(bombs, ("/healthz", "/nothing", "/emails", "/tokens")),
        held("bodies of 4,000 bytes", begun(4000, "/tokens")),
        held("unfinished headers", PROBE[:-2]),
        held("silent connections", b""),
        held("headers", PROBE[:-2] + b"X-Drip: ", b"x"),
        held("bodies", begun(64, "/tokens", missing=1000), b" "),
        idle(),
    ]
    if token:
        found += [
            bombs("/emails", token),
            held("bodies of 65,000 bytes", begun(65_000, "/emails", token)),
            entries("metadata"),
            entries("headers"),
        ]
    return found
