"""The supervisor with small real programs. The tests wait for the lines that they print."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from babygun.dev.report import SentenceLog
from babygun.runtime.processes.exits import Backoff
from babygun.runtime.processes.interpreter import python_environment
from babygun.runtime.processes.programs import Program, Programs
from babygun.runtime.processes.supervisor import StartFailed, Supervisor
from tests.support.processes import PATIENCE, is_gone

# Says its name and pid when it starts and "bye" when it is asked to stop.
POLITE = """
import os, signal, sys, time
def bye(*_):
    print("bye", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, bye)
print("up", os.getpid(), flush=True)
while True:
    time.sleep(0.02)  # signal.pause() would miss a signal that comes just before it
"""
STUBBORN = POLITE.replace(
    "signal.signal(signal.SIGTERM, bye)", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
)


class Stage:
    """A supervisor, and everything that is said on it, in order."""

    def __init__(self, backoff: Callable[[], Backoff] = lambda: Backoff(0.01, 0.05)) -> None:
        self.said: list[str] = []
        self.changes: list[dict[str, list[int]]] = []
        self._changed = asyncio.Condition()
        self.programs = Programs()
        self.supervisor = Supervisor(
            self.programs.launch,
            SentenceLog(self.say),
            changed=lambda: self.changes.append(self.supervisor.pids()),
            backoff=backoff,
        )
        self.up: set[int] = set()

    def say(self, line: str) -> None:
        self.said.append(line)
        asyncio.get_running_loop().create_task(self._notify())

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(condition)

    def component(self, name: str, script: str = POLITE, *, rank: int = 0, **more: Any) -> Program:
        def output(line: str) -> None:
            if line.startswith("up "):
                self.up.add(int(line.split()[1]))
            self.say(f"{name}: {line}")

        async def ready(pid: int) -> bool:
            return pid in self.up

        return Program(
            name=name,
            role=name.partition("-")[0],
            command=[sys.executable, "-c", script],
            environment=os.environ,
            ready=ready,
            rank=rank,
            output=output,
            **more,
        )


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    stage.supervisor.kill()
    await stage.supervisor.stop()
    await stage.programs.close()


async def test_component_counts_as_started_when_it_is_ready(stage: Stage) -> None:
    await stage.supervisor.start(stage.component("api"))
    await stage.supervisor.start(stage.component("worker-1"))
    await stage.supervisor.start(stage.component("worker-2"))
    pids = stage.supervisor.pids()
    assert {role: len(its) for role, its in pids.items()} == {"api": 1, "worker": 2}
    assert {*pids["api"], *pids["worker"]} == stage.up


async def test_component_that_is_killed_is_started_again_and_the_pids_follow(stage: Stage) -> None:
    await stage.supervisor.start(stage.component("api"))
    [first] = stage.supervisor.pids()["api"]
    os.kill(first, signal.SIGKILL)
    await stage.until(lambda: "api runs again" in stage.said)
    assert "api ended (SIGKILL); starting it again in 0.01 s" in stage.said
    [second] = stage.supervisor.pids()["api"]
    assert second != first
    assert stage.changes == [{"api": [first]}, {"api": []}, {"api": [second]}]


async def test_component_that_keeps_dying_is_started_with_growing_pauses(
    stage: Stage, tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    script = f"import os, sys\nif os.path.exists({str(flag)!r}): sys.exit(3)\n" + POLITE
    await stage.supervisor.start(stage.component("api", script))
    flag.touch()
    os.kill(stage.supervisor.pids()["api"][0], signal.SIGKILL)
    await stage.until(
        lambda: "api ended (exit status 3); starting it again in 0.05 s" in stage.said
    )
    flag.unlink()
    await stage.until(lambda: "api runs again" in stage.said)
    pauses = [line.rpartition(" in ")[2] for line in stage.said if "starting it again" in line]
    assert pauses[:3] == ["0.01 s", "0.02 s", "0.04 s"]


async def test_component_that_never_gets_ready_again_is_ended_and_tried_again(
    stage: Stage, tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    script = f"import os, time\nwhile os.path.exists({str(flag)!r}): time.sleep(0.01)\n" + POLITE
    component = stage.component("api", script)

    def start_within(seconds: float) -> None:
        object.__setattr__(component, "start_within", seconds)

    await stage.supervisor.start(component)
    flag.touch()
    start_within(0.5)
    os.kill(stage.supervisor.pids()["api"][0], signal.SIGKILL)
    await stage.until(lambda: "api was not ready within 0.5 s; ending it" in stage.said)
    start_within(PATIENCE)  # a busy machine may need many to start it
    flag.unlink()
    await stage.until(lambda: "api runs again" in stage.said)


async def test_first_start_that_fails_is_an_error_with_the_last_words(stage: Stage) -> None:
    with pytest.raises(
        StartFailed,
        match=r"(?s)api ended at once \(exit status 2\); its last words:.*no such setting",
    ):
        await stage.supervisor.start(
            stage.component("api", "import sys; print('babygun: no such setting'); sys.exit(2)")
        )
    with pytest.raises(StartFailed, match="worker was not ready in time"):
        await stage.supervisor.start(
            stage.component("worker", "import time; time.sleep(60)", start_within=0.2)
        )
    assert stage.supervisor.pids() == {"api": [], "worker": []}


async def test_program_that_does_not_exist_is_an_error(stage: Stage) -> None:
    component = stage.component("etcd")
    with pytest.raises(StartFailed, match="etcd can't be started: No such file"):
        await stage.supervisor.start(replace(component, command=["/no/such/program"]))


async def test_stop_ends_the_components_in_the_order_of_their_ranks(stage: Stage) -> None:
    for name, rank in (("etcd", 3), ("mailbox", 2), ("worker", 1), ("api", 0)):
        await stage.supervisor.start(stage.component(name, rank=rank))
    await stage.supervisor.stop()
    assert [line for line in stage.said if line.endswith("bye")] == [
        "api: bye",
        "worker: bye",
        "mailbox: bye",
        "etcd: bye",
    ]
    assert all(is_gone(pid) for pid in stage.up)
    assert stage.supervisor.pids() == {"etcd": [], "mailbox": [], "worker": [], "api": []}


async def test_stop_kills_what_does_not_stop_in_its_time(stage: Stage) -> None:
    await stage.supervisor.start(stage.component("api", STUBBORN, stop_within=0.1))
    await stage.supervisor.stop()
    assert "api did not stop within 0.1 s; killing it" in stage.said
    assert all(is_gone(pid) for pid in stage.up)


async def test_stop_during_a_pause_starts_nothing_any_more() -> None:
    stage = Stage(lambda: Backoff(30))
    await stage.supervisor.start(stage.component("api"))
    os.kill(stage.supervisor.pids()["api"][0], signal.SIGKILL)
    await stage.until(lambda: any("in 30 s" in line for line in stage.said))
    await asyncio.wait_for(stage.supervisor.stop(), 20)
    assert len(stage.up) == 1
    await stage.programs.close()


async def test_kill_while_stopping_ends_it_at_once(stage: Stage) -> None:
    await stage.supervisor.start(stage.component("api", STUBBORN, stop_within=30))
    stopping = asyncio.create_task(stage.supervisor.stop())
    await asyncio.sleep(0)
    stage.supervisor.kill()
    await asyncio.wait_for(stopping, 20)
    assert all(is_gone(pid) for pid in stage.up)


SUPERVISOR = """
import asyncio, os, sys
from babygun.dev.report import SentenceLog
from babygun.runtime.processes.programs import Program, Programs
from babygun.runtime.processes.supervisor import Supervisor
child = {child!r}
async def main():
    up = asyncio.Event()
    def output(line):
        print(line, flush=True)
        up.set()
    async def ready(pid):
        return up.is_set()
    supervisor = Supervisor(Programs(guard_grace=0.5).launch, SentenceLog(print))
    for rank in (1, 0):
        up.clear()
        await supervisor.start(
            Program(
                name=f"c{{rank}}",
                role="c",
                command=[sys.executable, "-c", child],
                environment=os.environ,
                ready=ready,
                rank=rank,
                output=output,
            )
        )
    print("ready", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.mark.parametrize("child", [POLITE, STUBBORN], ids=["polite", "stubborn"])
async def test_children_do_not_outlive_a_supervisor_that_is_killed(
    child: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", textwrap.dedent(SUPERVISOR).format(child=child)),
        env=python_environment(),
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    pids = []
    while (line := (await process.stdout.readline()).decode().strip()) != "ready":
        pids.append(int(line.split()[1]))
    assert len(pids) == 2
    process.kill()
    await process.wait()
    async with asyncio.timeout(PATIENCE):
        while not all(is_gone(pid) for pid in pids):  # noqa: ASYNC110 (nobody is left to report it)
            await asyncio.sleep(0.02)
        await process.stdout.read()  # to its end, which closes our side of the pipe
