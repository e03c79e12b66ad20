"""The load generator and the counting mail server: two small C programs in load/.

They are compiled at their first use. All times are seconds of CLOCK_MONOTONIC, as of
``time.monotonic()``, so times of different programs can be compared.
"""

from __future__ import annotations

import array
import json
import os
import select
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scripts.bench.processes import BenchError, Stage, Unavailable, line_of, run

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "bench"  # ignored by git
SOURCES = Path(__file__).parent / "load"
_PROGRAMS = {"load": ("load.c", "http.c", "smtp.c", "load.h"), "sink": ("sink.c",)}


def compiled(name: Literal["load", "sink"]) -> Path:
    """The program. It is compiled if its source is newer. Raises Unavailable without a compiler."""
    program, sources = BUILD / name, [SOURCES / source for source in _PROGRAMS[name]]
    if program.exists() and program.stat().st_mtime > max(
        source.stat().st_mtime for source in sources
    ):
        return program
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        raise Unavailable(
            "gcc is not installed, and the load generator is in C: apt-get install gcc libc6-dev"
        )
    BUILD.mkdir(parents=True, exist_ok=True)
    new = program.with_suffix(f".{os.getpid()}")
    to_compile = [source for source in sources if source.suffix == ".c"]
    run([compiler, "-O2", "-Wall", "-Wextra", "-o", new, *to_compile])
    new.replace(program)
    return program


@dataclass(frozen=True)
class Mail:
    """``count`` e-mails, numbered from ``first`` on, each of ``size`` bytes.

    With ``domains``, e-mail n goes to ``d<n % domains>.<zone>``, else all go to example.net.
    """

    first: int
    count: int
    size: int = 1024
    recipients: int = 1
    domains: int = 0
    zone: str = ""


@dataclass(frozen=True)
class Sent:
    """What a generator reports. ``refused``: e-mails. ``cpu``: its own CPU time in seconds."""

    start: float
    end: float
    refused: int
    cpu: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class Arrived:
    """What the sink counted since the last ``expect``.

    ``messages``: duplicates included. ``stray``: messages with unexpected numbers. ``bytes``: as
    received.
    """

    expected: int
    distinct: int
    messages: int
    stray: int
    recipients: int
    bytes: int
    first: float  # arrival of the first and the last one; 0: none yet
    last: float
    opened: int  # connections, and the most at once
    most_open: int
    now: float

    @property
    def complete(self) -> bool:
        return self.distinct == self.expected


class Sink:
    """The counting mail server, as a process of the stage.

    ``address``: to listen on; 0.0.0.0 is all of 127.0.0.0/8, where 127.9.x.x are black holes.
    """

    def __init__(self, stage: Stage, name: str = "sink", address: str = "127.0.0.1") -> None:
        self._stage, self._name = stage, name
        self._process = stage.start(name, [compiled("sink"), "0", address], pipes=True)
        words = line_of(self._process.stdout).split()
        if len(words) != 2:
            raise BenchError(f"the sink did not start: {stage.last_words(name)}")
        self.port = int(words[1])

    @property
    def pid(self) -> int:
        return self._process.pid

    def expect(self, mail: Mail, times: Path | None = None) -> None:
        """Starts to count again. ``times``: a file for :func:`arrival_times`."""
        self._ask(f"expect {mail.first} {mail.count} {times or ''}")

    def count(self) -> Arrived:
        return Arrived(**json.loads(self._ask("count")))

    def wait(
        self,
        stall: float = 30.0,
        poll: float = 0.05,
        seen: Callable[[Arrived], None] | None = None,
        recipients: int = 0,
    ) -> Arrived:
        """Waits until all have come, to so many recipients; ``seen`` gets each count.

        Raises BenchError if nothing new comes for ``stall`` seconds.
        """
        last, moved = -1, time.monotonic()
        while True:
            arrived = self.count()
            if seen:
                seen(arrived)
            if arrived.complete and arrived.recipients >= recipients:
                return arrived
            if arrived.messages != last:
                last, moved = arrived.messages, time.monotonic()
            elif time.monotonic() - moved > stall:
                part = f"{arrived.distinct} of {arrived.expected}"
                raise BenchError(f"{part} e-mails came, then none for {stall:g} s")
            self._stage.check()
            time.sleep(poll)

    def _ask(self, line: str) -> bytes:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise BenchError(f"the sink is gone: {self._stage.last_words(self._name)}") from None
        ready, _, _ = select.select([self._process.stdout], [], [], 30)
        answer = line_of(self._process.stdout) if ready else b""
        if not answer:
            raise BenchError(f"the sink does not answer: {self._stage.last_words(self._name)}")
        return answer


class Load:
    """A run of the load generator, as a process of the stage. load.c has the options.

    ``stall``: it gives up after so many seconds without an answer. ``authorization``: the value
    of the HTTP header.
    """

    def __init__(
        self,
        stage: Stage,
        protocol: Literal["http", "smtp"],
        ports: Sequence[int],
        mail: Mail,
        *,
        connections: int = 20,
        rate: float = 0,
        batch: int = 1,
        path: str = "/emails",
        authorization: str = "",
        times: Path | None = None,
        stall: int = 30,
    ) -> None:
        options = {
            "--port": ",".join(map(str, ports)),
            "--first": mail.first,
            "--count": mail.count,
            "--size": mail.size,
            "--recipients": mail.recipients,
            "--connections": connections,
            "--rate": f"{rate:.6f}",
            "--batch": batch,
            "--path": path,
            "--stall": stall,
            **({"--domains": mail.domains, "--zone": mail.zone} if mail.domains else {}),
            **({"--times": times} if times else {}),
        }
        words = [str(word) for option in options.items() for word in option]
        self._stage = stage
        with suppress(OSError):
            stage.log("load").unlink()  # of an earlier run
        self._process = stage.start(
            "load",
            [compiled("load"), protocol, *words],
            environment={"AUTH": authorization} if authorization else {},
            pipes=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> Sent:
        """Waits for its end. Raises BenchError if it gave up."""
        output, _ = self._process.communicate()
        status = self._process.returncode
        self._stage.end("load")
        if status:
            raise BenchError(f"the load generator gave up: {self._stage.last_words('load')}")
        return Sent(**json.loads(output))


def sent_times(file: Path) -> list[tuple[float, float]]:
    """When each e-mail was sent (with a rate: due), and answered; 0: not yet."""
    numbers = _numbers(file)
    return [
        (sent / 1e9, answered / 1e9)
        for sent, answered in zip(numbers[::2], numbers[1::2], strict=True)
    ]


def arrival_times(file: Path) -> list[float]:
    """When each e-mail arrived; 0: not yet."""
    return [number / 1e9 for number in _numbers(file)]


def _numbers(file: Path) -> array.array[int]:
    numbers = array.array("q")
    numbers.frombytes(file.read_bytes())
    return numbers


def percentile(values: Sequence[float], part: float) -> float:
    """The value that ``part`` (0.99) of all values do not exceed; 0 without values."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else 0.0
