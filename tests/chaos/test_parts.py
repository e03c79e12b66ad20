"""A process of the stage: what a fault does to it, and what the history says of that."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.bench.processes import BenchError
from scripts.bench.processes import Stage as Processes
from scripts.chaos.history import Event, History, Recorder
from scripts.chaos.parts import Part


class Rig:
    """One part that waits for ever, with its history."""

    def __init__(self, folder: Path, processes: Processes) -> None:
        self._path = folder / "history"
        self._recorder = Recorder(self._path)
        self.command = ["sleep", "60"]
        self.part = Part(
            processes,
            self._recorder,
            "worker",
            1,
            command=lambda: self.command,
            surroundings=lambda: {"PATH": os.environ["PATH"]},
            is_ready=lambda: True,
        )

    def close(self) -> None:
        self._recorder.close()

    def events(self) -> list[str]:
        """The names of the events so far, with how a process ended."""
        self.close()
        return [
            type(event).__name__.removeprefix("Process") + f" {getattr(event, 'how', '')}".rstrip()
            for event in History(self._path).events(*Event.__subclasses__())
        ]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Processes(tmp_path) as processes:
        rig = Rig(tmp_path, processes)
        yield rig
        rig.close()


async def test_killed_part_starts_again_with_what_was_set_meanwhile(rig: Rig) -> None:
    await rig.part.start()
    first = rig.part.pid
    await rig.part.kill()
    assert not rig.part.alive and not rig.part.pid
    rig.part.limits[resource.RLIMIT_NOFILE] = 50
    await rig.part.start()
    assert rig.part.pid not in (0, first)
    assert resource.prlimit(rig.part.pid, resource.RLIMIT_NOFILE)[0] == 50
    await rig.part.terminate()
    assert rig.events() == ["Started", "Ended SIGKILL", "Started", "Ended SIGTERM"]


async def test_paused_part_is_woken_before_it_ends(rig: Rig) -> None:
    await rig.part.start()
    rig.part.pause()
    assert rig.part.alive and rig.part.paused
    assert await rig.part.terminate()
    assert rig.events() == ["Started", "Paused", "Woken", "Ended SIGTERM"]


def test_part_that_ends_by_itself_is_noticed(rig: Rig) -> None:
    rig.command = ["sleep", "0"]
    rig.part.launch()
    os.waitid(os.P_PID, rig.part.pid, os.WEXITED | os.WNOWAIT)
    assert not rig.part.alive
    assert rig.events() == ["Started", "Ended exit 0"]


async def test_start_of_a_part_that_runs_changes_nothing(rig: Rig) -> None:
    await rig.part.start()
    pid = rig.part.pid
    await rig.part.start()
    assert rig.part.pid == pid


async def test_part_that_is_never_ready_is_an_error(rig: Rig) -> None:
    def never() -> bool:
        while not rig.part.words():
            time.sleep(0.01)
        return False

    rig.command = ["sh", "-c", "echo no such setting; exit 2"]
    rig.part._is_ready = never
    with pytest.raises(BenchError, match=r"worker 1 was not ready within 0\.2 s:\nno such setting"):
        await rig.part.start(0.2)
