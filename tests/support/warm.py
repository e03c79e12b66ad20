"""A process that has imported all commands. Each command that a test runs is a fork of it.

With an interpreter of its own, each of hundreds of commands would import for 0.5 s of CPU. A fork
gets its words, environment, folder and pipes like any other process.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import importlib
import json
import os
import selectors
import socket
import subprocess
import sys
from functools import cache
from typing import NamedTuple, NoReturn

from tests.support.paths import ROOT


class Result(NamedTuple):
    """``status``: the exit status; negative: the signal that ended it."""

    status: int
    out: str
    error: str


async def run(words: tuple[str, ...], env: dict[str, str], folder: str, stdin: bytes) -> Result:
    """What ``babygun …`` does."""
    pipes = [os.pipe() for _ in range(4)]
    fed, *read = pipes
    asked = json.dumps([words, env, folder]).encode()
    theirs = [fed[0], *(writer for _, writer in read)]
    socket.send_fds(_warm(), [asked], theirs)
    for descriptor in theirs:
        os.close(descriptor)
    loop = asyncio.get_running_loop()
    feeding, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(fed[1], "wb", 0))
    feeding.write(stdin)
    feeding.close()
    out, error, status = await asyncio.gather(*(_all_of(reader) for reader, _ in read))
    return Result(int(status), out.decode(), error.decode())


async def _all_of(descriptor: int) -> bytes:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    try:
        return await reader.read()
    finally:
        transport.close()


@cache
def _warm() -> socket.socket:
    """Its socket takes words. It ends when nobody can ask any more."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=theirs.fileno(),
            start_new_session=True,
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _serve(asked: socket.socket) -> list[str]:
    """Makes forks until nobody can ask. In a fork, it returns the words of its command."""
    with selectors.DefaultSelector() as waiting:
        waiting.register(asked, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is not asked:
                    waiting.unregister(key.fileobj)
                    os.close(key.fd)
                    _report(*key.data)
                    continue
                request, pipes, _, _ = socket.recv_fds(asked, 1 << 20, 4)
                if not request:
                    raise SystemExit
                if not (pid := os.fork()):
                    asked.close()
                    return _become(pipes, *json.loads(request))
                for descriptor in pipes[:3]:
                    os.close(descriptor)
                waiting.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, pipes[3]))


def _report(pid: int, pipe: int) -> None:
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with os.fdopen(pipe, "w") as file:
        file.write(str(status))


def _become(pipes: list[int], words: list[str], env: dict[str, str], folder: str) -> list[str]:
    """Makes this fork what a new process of these would be."""
    for descriptor, pipe in enumerate(pipes[:3]):
        os.dup2(pipe, descriptor)
    for pipe in pipes:
        os.close(pipe)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace")
    return words


def _main() -> NoReturn:
    from babygun.cli.main import COMMANDS, main

    for command in COMMANDS:
        importlib.import_module(f"babygun.cli.{command.module}")
    gc.freeze()  # else each fork would copy all that its collector looks at
    with socket.socket(fileno=0) as asked:
        words = _serve(asked)
    try:
        status = main(words)
    except SystemExit as usage:
        status = int(usage.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # to free each object would cost as much again as the command


if __name__ == "__main__":
    _main()
