"""The watchdog: a process that hangs ends, and says where; systemd gets signs of life."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from babygun.runtime.watchdog import notify, watched
from tests.support.processes import running

PROGRAM = """
import asyncio, sys, time
from babygun.runtime import logs
from babygun.runtime.watchdog import watched

def reads_a_file_that_never_comes():
    time.sleep(60)

async def main():
    hangs = []
    async with watched(8.0, lambda: "".join(hangs)):
        if sys.argv[1] != "at once":
            await asyncio.sleep(0.01)
        if sys.argv[1] != "part":
            reads_a_file_that_never_comes()
        hangs.append("check-in")
        await asyncio.sleep(60)

logs.configure("test")
asyncio.run(main())
"""


WORDS = {
    "at once": "in reads_a_file_that_never_comes",
    "loop": "in reads_a_file_that_never_comes",
    "part": "process hangs part=check-in",
}


async def test_process_that_hangs_ends_and_says_where() -> None:
    """Side by side, as each has much time: the machine may stand still before it hangs."""

    async def hangs(what: str) -> None:
        async with running(sys.executable, "-c", PROGRAM, what) as process:
            assert await process.ended() == 1
            assert process.lines(WORDS[what]), process.log
            assert process.lines("in main")

    await asyncio.gather(*map(hangs, WORDS))


class Systemd:
    """systemd's end of the socket by which a service reports."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._socket.setblocking(False)

    async def hears(self) -> str:
        async with asyncio.timeout(20):
            return (await asyncio.get_running_loop().sock_recv(self._socket, 100)).decode()

    def has_heard_nothing(self) -> bool:
        try:
            self._socket.recv(100)
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["file", "abstract"])
def systemd(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Systemd]:
    path = str(tmp_path / "notify") if request.param == "file" else f"@babygun-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    monkeypatch.setenv("WATCHDOG_USEC", "40000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    found = Systemd(path.replace("@", "\0"))
    yield found
    found.close()


async def test_systemd_gets_signs_of_life_while_the_process_works(systemd: Systemd) -> None:
    async with watched(0):
        assert [await systemd.hears() for _ in range(3)] == ["WATCHDOG=1"] * 3


def test_copy_of_a_process_does_not_speak_for_it(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_PID", str(os.getppid()))
    notify("WATCHDOG=1")
    assert systemd.has_heard_nothing()


async def test_process_whose_systemd_has_gone_goes_on(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/no/such/socket")
    async with watched(0):
        await asyncio.sleep(0)


async def test_process_without_systemd_and_without_a_limit_is_not_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    async with watched(0):
        assert [task.get_name() for task in asyncio.all_tasks()].count("watchdog") == 0
