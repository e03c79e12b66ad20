"""Starts the processes of a benchmark, and ends them even if the benchmark is killed.

Each process has a session of its own, so that all it started is ended with it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

from babygun.dev.ports import Ports
from babygun.errors import SettingsError
from babygun.runtime.processes.guard import end_groups, signal_group
from babygun.runtime.processes.interpreter import python_command, python_environment

GRACE = 10.0  # seconds from SIGTERM to SIGKILL
_LAST = 2000  # characters of a log that an error shows


class BenchError(Exception):
    """A benchmark can't go on. The message is for the person who started it."""


class Unavailable(BenchError):
    """Something is not installed. The message says what, and how to install it."""


class Stage:
    """A temporary folder and the processes that run in it. Both are gone when the block ends.

    The folder is on a disk. /tmp is memory on many machines, where an fsync costs nothing.
    Logs are ``<folder>/<name>.log``.
    """

    def __init__(self, parent: Path = Path("/var/tmp")) -> None:  # noqa: S108 (mkdtemp)
        self._parent = parent
        self._ports = Ports(lambda line: None)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="babygun-bench-", dir=self._parent))
        self.folder.chmod(0o755)  # Postfix's processes run as another user
        self._guard = subprocess.Popen(
            python_command("babygun.runtime.processes.guard", str(GRACE)),
            env=python_environment(),
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        # A second Ctrl-C must not leave anything behind.
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
        try:
            self.end(*reversed(self._processes))
            if self._guard and self._guard.stdin:
                self._guard.stdin.close()
                self._guard.wait()
            shutil.rmtree(self.folder, ignore_errors=True)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def port(self) -> int:
        """A free port, another one each time."""
        return self._ports.any()

    def ports(self, count: int) -> int:
        """The first of ``count`` free ports in a row."""
        while True:
            first = self._ports.any()
            try:
                for port in range(first + 1, first + count):
                    self._ports.choose("a process", asked=port, default=port, option="")
            except SettingsError:
                continue
            return first

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        pipes: bool = False,
    ) -> subprocess.Popen[bytes]:
        """Starts a process; its standard error goes to its log.

        ``pipes``: we have its standard input and output; else the output goes to the log too.
        """
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                [os.fspath(word) for word in command],
                env=None if environment is None else dict(environment),
                cwd=cwd or self.folder,
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else log,
                stderr=log,
                start_new_session=True,
            )
        self._processes[name] = process
        self._write_to_guard(f"+ 0 {process.pid}")
        return process

    def end(self, *names: str) -> None:
        """Ends these processes and all that they started: SIGTERM to all, then SIGKILL."""
        found = [self._processes.pop(name) for name in names if name in self._processes]
        for process in found:
            signal_group(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        for process in found:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(deadline - time.monotonic(), 0.01))
            end_groups([process.pid], 1.0)  # what it started
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream:
                    with suppress(OSError):
                        stream.close()
            self._write_to_guard(f"- {process.pid}")

    def ready(self, name: str, is_ready: Callable[[], bool], within: float = 60.0) -> None:
        """Waits until ``is_ready`` returns true. An OSError of it counts as "not yet".

        Raises BenchError with the end of the log.
        """
        deadline, process = time.monotonic() + within, self._processes[name]
        while True:
            with suppress(OSError):
                if is_ready():
                    return
            if process.poll() is not None or time.monotonic() > deadline:
                ended = process.poll() is not None
                what = (
                    f"ended with status {process.returncode}"
                    if ended
                    else f"was not ready within {within:g} s"
                )
                raise BenchError(f"{name} {what}:\n{self.last_words(name)}")
            time.sleep(0.05)

    def check(self, *but: str) -> None:
        """Raises BenchError if a process has ended, other than those in ``but``."""
        for name, process in self._processes.items():
            if name not in but and process.poll() is not None:
                raise BenchError(
                    f"{name} ended with status {process.returncode}:\n{self.last_words(name)}"
                )

    def last_words(self, name: str) -> str:
        with suppress(OSError):
            return self.log(name).read_text(errors="replace")[-_LAST:]
        return ""

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def _write_to_guard(self, line: str) -> None:
        if self._guard and self._guard.stdin:
            with suppress(OSError):
                self._guard.stdin.write(line.encode() + b"\n")
                self._guard.stdin.flush()


def run(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    within: float = 60.0,
) -> str:
    """Runs a command; returns its standard output. Raises BenchError if it fails."""
    words = [os.fspath(word) for word in command]
    try:
        done = subprocess.run(
            words,
            env=None if environment is None else dict(environment),
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=within,
            stdin=subprocess.DEVNULL,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"{' '.join(words)}: {error}") from None
    if done.returncode:
        printed = (done.stdout + done.stderr)[-_LAST:]
        raise BenchError(f"{' '.join(words)} ended with status {done.returncode}:\n{printed}")
    return done.stdout


def answers(url: str) -> bool:
    """Whether a GET is answered with 200. Raises OSError if nothing answers."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 (our own processes')
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        error.close()
        return False


def is_listening(port: int) -> bool:
    """True if something listens on this port of 127.0.0.1. Raises OSError if nothing does."""
    with socket.create_connection(("127.0.0.1", port), 2):
        return True


def line_of(stream: IO[Any] | None) -> bytes:
    """The next line of a pipe, or empty at its end."""
    assert stream is not None
    return bytes(stream.readline())
