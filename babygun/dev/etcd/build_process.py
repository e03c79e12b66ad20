"""Runs a step of the build, with its output shown line by line.

The step is ended if it prints nothing for too long, or if this process is asked to stop.
"""

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

_MOST_OUTPUT = 4000  # characters of the output in an error


class BuildFailed(Exception):
    """A step of the build failed; the message is the end of its output."""


@contextmanager
def cleaning_up() -> Iterator[None]:
    """Turns SIGTERM and SIGHUP into SystemExit, so that the block cleans up as it does on Ctrl-C.

    Further signals are ignored meanwhile. Outside the main thread it does nothing.
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


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Lets the signals that end this process take effect only after the block."""
    held: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {
            number: signal.signal(number, lambda number, _: held.append(number))
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for received in held:
            signal.raise_signal(received)


def run_shown(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    silence: float,
    cwd: Path | None = None,
    line: Callable[[str], None] | None = None,
) -> str:
    """Returns the command's whole standard output.

    ``line`` gets each line of its standard error as it comes. Raises BuildFailed if the command
    fails, can't be started, or prints nothing on standard error for ``silence`` seconds.
    Any other exception (Ctrl-C too) ends the command and all that it started.
    """
    with tempfile.TemporaryFile() as out:
        process = None
        try:
            with _signals_held_back():  # else one could come before the child is known here
                process = subprocess.Popen(
                    command,
                    cwd=cwd,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
            output = _follow(process, silence, line)
        except BaseException as error:
            if process is not None:
                _kill_group(process)
            elif isinstance(error, OSError):
                raise BuildFailed(f"{command[0]}: {error.strerror or error}") from None
            raise
        status = process.wait()
        out.seek(0)
        printed = out.read().decode(errors="replace")
    if status:
        raise BuildFailed(
            (output + printed)[-_MOST_OUTPUT:].strip() or f"{command[0]} ended with status {status}"
        )
    return printed


def _follow(
    process: subprocess.Popen[bytes], silence: float, line: Callable[[str], None] | None
) -> str:
    assert process.stderr is not None
    output, rest = "", b""
    with selectors.DefaultSelector() as selector, process.stderr as stream:
        selector.register(stream, selectors.EVENT_READ)
        deadline = time.monotonic() + silence
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise BuildFailed(f"{output[-_MOST_OUTPUT:]}\nno output for {silence:g} s")
            chunk = os.read(stream.fileno(), 65536)
            deadline = time.monotonic() + silence
            *lines, rest = (rest + chunk).split(b"\n")
            if not chunk and rest:
                lines.append(rest)
            for raw in lines:
                text = raw.decode(errors="replace").rstrip()
                output = (output + text + "\n")[-2 * _MOST_OUTPUT :]
                if line:
                    line(text)
            if not chunk:
                return output


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    if process.stderr is not None:
        process.stderr.close()


def last_line(error: Exception) -> str:
    """The last line of an error's text, as its reason in one sentence."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no reason given"
