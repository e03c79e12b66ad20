"""Several small copies under a supervisor. The tests wait for the lines that they print."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.processes import PATIENCE, Process, running

PROGRAM = """
import os, signal, subprocess, sys, threading, time
from pathlib import Path
from babygun.runtime import logs
from babygun.runtime.processes.copies import run_copies
from babygun.runtime.processes.exits import Backoff

def polite(copy):
    asked = []  # an Event may hold its own lock where the handler wants to set it
    signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
    copy.up()
    while not asked:
        time.sleep(0.02)
    os.write(1, f"bye {{copy.number}}\\n".encode())
    return 0

def stubborn(copy):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    copy.up()
    threading.Event().wait()

flag = Path(sys.argv[1])
{run}
logs.configure("test")
sys.exit(
    run_copies(
        2, run, grace={grace}, second_signal_kills=True, backoff=lambda: Backoff(0.02, 0.05)
    )
)
"""
POLITE = "run = polite"
STUBBORN = "run = stubborn"


Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    async with AsyncExitStack() as runs:

        async def begin(run: str, grace: float = 20) -> Process:
            program = PROGRAM.format(run=textwrap.dedent(run), grace=grace)
            return await runs.enter_async_context(
                running(sys.executable, "-c", program, str(tmp_path / "flag"))
            )

        yield begin


@pytest.fixture
def flag(tmp_path: Path) -> Path:
    """A path that the processes look at."""
    return tmp_path / "flag"


def is_collected(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


async def test_interrupt_of_a_terminal_ends_all_processes_in_order(start: Start) -> None:
    run = await start(POLITE)
    pids = await run.up()
    assert len(set(pids)) == 2
    os.killpg(run.process.pid, signal.SIGINT)
    assert await run.ended() == 0
    assert sorted(run.said[1:]) == sorted(
        [
            "bye 1",
            "bye 2",
            next(line for line in run.said if "stopping processes signal=SIGINT" in line),
        ]
    )


async def test_process_that_dies_is_started_again_with_growing_pauses(
    start: Start, flag: Path
) -> None:
    run = await start("""
        def run(copy):
            return 3 if copy.number == 2 and flag.exists() else polite(copy)
    """)
    first, second = await run.up()
    flag.touch()  # noqa: ASYNC240 (it is quick)
    os.kill(second, signal.SIGKILL)
    assert f"process=2 pid={second} status=SIGKILL pause_seconds=0.02" in await run.until(
        "process ended"
    )
    assert "process=2" in await run.until('status="exit status 3" pause_seconds=0.04')
    await run.until("pause_seconds=0.05")
    flag.unlink()  # noqa: ASYNC240
    again = await run.until("process up again process=2")
    assert f"pid={second}" not in again
    assert not [line for line in run.said if "process=1" in line] and not is_collected(first)
    run.process.terminate()
    assert await run.ended() == 0


async def test_process_that_hangs_ends_by_its_watchdog_and_is_started_again(
    start: Start, flag: Path
) -> None:
    run = await start("""
        import asyncio
        from babygun.runtime.watchdog import watched

        async def work(copy):
            copy.up()
            while copy.number == 1 or not flag.exists():
                await asyncio.sleep(0.02)
            flag.unlink()
            async with watched(2.0):
                time.sleep(60)

        def run(copy):
            asyncio.run(work(copy))
    """)
    await run.up()
    flag.touch()  # noqa: ASYNC240 (it is quick)
    assert "process=2" in await run.until('status="exit status 1"')
    assert run.lines("in work")
    await run.until("process up again process=2")
    run.process.terminate()
    assert await run.ended() == 0


async def test_process_that_returns_no_status_has_failed(start: Start, flag: Path) -> None:
    run = await start("""
        def run(copy):
            if copy.number == 1:
                return polite(copy)
            copy.up()
            while not flag.exists():
                threading.Event().wait(0.02)
            flag.unlink()
    """)
    await run.up()
    flag.touch()  # noqa: ASYNC240 (it is quick)
    assert "process=2" in await run.until('status="exit status 1"')
    await run.until("process up again process=2")
    run.process.terminate()
    assert await run.ended() == 0
    assert run.lines("Traceback")
    run.said.clear()  # else the fixture takes it for a fault


async def test_first_process_that_can_not_start_ends_the_supervisor_and_says_so_once(
    start: Start,
) -> None:
    run = await start("""
        def run(copy):
            print("it is set up wrongly", flush=True)
            return 2
    """)
    assert await run.ended() == 2
    assert run.said == ["it is set up wrongly"]


async def test_process_that_the_system_refuses_ends_the_supervisor(start: Start) -> None:
    run = await start("""
        def refuse():
            raise BlockingIOError(11, "too many")

        os.fork = refuse
        run = polite
    """)
    assert await run.ended() == 1
    [line] = run.said
    assert 'process not started process=1 error="can\'t be started: too many"' in line


async def test_second_process_that_can_not_start_ends_the_first_too(start: Start) -> None:
    run = await start("""
        def run(copy):
            return polite(copy) if copy.number == 1 else os.kill(os.getpid(), signal.SIGKILL)
    """)
    assert await run.ended() == 1
    assert "process failed at start process=2" in run.said[0] and run.said[1:] == ["bye 1"]


async def test_last_process_that_is_set_up_wrongly_ends_the_supervisor(
    start: Start, flag: Path
) -> None:
    run = await start("""
        def run(copy):
            return 2 if flag.exists() else polite(copy)
    """)
    pids = await run.up()
    flag.touch()  # noqa: ASYNC240 (it is quick)
    os.kill(pids[1], signal.SIGKILL)
    await run.until("process=2 pid=")
    await run.until('status="exit status 2"')  # tried again and again while the other one works
    os.kill(pids[0], signal.SIGKILL)
    assert await run.ended() == 2
    assert "last process failed" in run.said[-1]


async def test_process_that_does_not_stop_is_killed_after_its_time(start: Start) -> None:
    run = await start(STUBBORN, grace=0.2)
    await run.up()
    run.process.terminate()
    assert await run.ended() == 1
    assert (
        len(
            [
                line
                for line in run.said
                if re.search(r"process killed process=\d pid=\d+ seconds=0.2", line)
            ]
        )
        == 2
    )


@pytest.mark.parametrize(
    ("signum", "status"),
    [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)],
    ids=["term", "int"],
)
async def test_second_signal_ends_everything_at_once(
    start: Start, signum: signal.Signals, status: int
) -> None:
    run = await start(STUBBORN)
    await run.up()
    run.process.send_signal(signum)
    await run.until("stopping processes")
    run.process.send_signal(signum)
    assert await run.ended() == status


@pytest.mark.parametrize(
    ("program", "grace"), [(POLITE, 20), (STUBBORN, 0.2)], ids=["polite", "stubborn"]
)
async def test_supervisor_that_is_killed_leaves_nothing(
    start: Start, program: str, grace: float
) -> None:
    run = await start(program, grace)
    await run.up()
    run.process.kill()
    assert await run.ended() == -signal.SIGKILL
    assert len([line for line in run.said if "supervisor gone" in line]) == 2


async def test_orphans_are_collected_as_by_process_1_of_a_container(start: Start) -> None:
    run = await start("""
        import ctypes
        PR_SET_CHILD_SUBREAPER = 36  # orphans come to this process, as to process 1
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

        def run(copy):
            if copy.number == 2:
                shell = ["sh", "-c", "sleep 0 >/dev/null & echo $!"]
                started = subprocess.run(shell, capture_output=True, text=True)
                print("orphan", started.stdout, flush=True)
            return polite(copy)
    """)
    orphan = int((await run.until("orphan")).split()[1])
    async with asyncio.timeout(PATIENCE):
        while not is_collected(orphan):  # noqa: ASYNC110 (it is no child of ours)
            await asyncio.sleep(0.01)
    run.process.terminate()
    assert await run.ended() == 0
