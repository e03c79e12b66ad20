"""Runs a long command whose lines are shown as they come, and ends it when it falls silent or this process is told to stop."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_SAID = 4000  # characters of its output that an error carries


class BuildFailed(Exception):
    """A step of the build failed; the message holds the end of what it said."""


@contextmanager
def cleaning_up() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP leave this block as Ctrl-C does, by an exception (SystemExit), so that nothing of it stays behind.

    A second one is ignored meanwhile. For the main thread; elsewhere it does nothing.
    """

    def leave(number: int, frame: object) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {
            number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)
        }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def run_shown(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    silence: float,
    cwd: Path | None = None,
    line: Callable[[str], None] | None = None,
) -> str:
    """Its standard output, in full; each line of its standard error goes to ``line`` as it comes.

    Raises BuildFailed where it fails, can't be started, or says nothing on standard error for ``silence`` seconds.
    Whatever ends this function early (Ctrl-C too) ends the command and all that it started.
    """
    with tempfile.TemporaryFile() as out:
        try:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise BuildFailed(f"{command[0]}: {error.strerror or error}") from None
        try:
            said = _follow(process, silence, line)
        except BaseException:
            _kill_group(process)
            raise
        status = process.wait()
        out.seek(0)
        printed = out.read().decode(errors="replace")
    if status:
        raise BuildFailed(
            (said + printed)[-_SAID:].strip() or f"{command[0]} ended with status {status}"
        )
    return printed


def _follow(
    process: subprocess.Popen[bytes], silence: float, line: Callable[[str], None] | None
) -> str:
    assert process.stderr is not None
    said, rest = "", b""
    with selectors.DefaultSelector() as selector, process.stderr as stream:
        selector.register(stream, selectors.EVENT_READ)
        deadline = time.monotonic() + silence
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise BuildFailed(f"{said[-_SAID:]}\nnothing more came for {silence:g} s")
            chunk = os.read(stream.fileno(), 65536)
            deadline = time.monotonic() + silence
            *lines, rest = (rest + chunk).split(b"\n")
            if not chunk and rest:
                lines.append(rest)
            for raw in lines:
                text = raw.decode(errors="replace").rstrip()
                said = (said + text + "\n")[-2 * _SAID :]
                if line:
                    line(text)
            if not chunk:
                return said


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
