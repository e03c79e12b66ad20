import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from babygun.dev.etcd.binary import find_etcd
from babygun.dev.etcd.build_process import BuildFailed, cleaning_up, run_shown
from tests.support.paths import ROOT
from tests.support.processes import is_gone


def test_output_comes_back_and_errors_line_by_line() -> None:
    lines: list[str] = []
    printed = run_shown(
        [sys.executable, "-c", "import sys; print('out'); sys.stderr.write('one\\ntwo')"],
        env=os.environ,
        silence=30,
        line=lines.append,
    )
    assert printed == "out\n"
    assert lines == ["one", "two"]


def test_failure_carries_what_was_said() -> None:
    with pytest.raises(BuildFailed, match="the reason"):
        run_shown(
            [sys.executable, "-c", "import sys; sys.exit('the reason')"], env=os.environ, silence=30
        )
    with pytest.raises(BuildFailed, match="No such file"):
        run_shown(["/no/such/program"], env=os.environ, silence=30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_build_that_gets_a_signal_leaves_no_folder_and_no_process_behind(
    tmp_path: Path, number: int
) -> None:
    programs, told = tmp_path / "bin", tmp_path / "told"
    programs.mkdir()
    os.mkfifo(told)
    go = programs / "go"  # takes all but the step that downloads, which hangs
    go.write_text(
        f"#!/bin/sh\ncase \"$1 $2\" in 'list -deps') echo $$ > {told}; exec sleep 60;; esac\n"
    )
    go.chmod(0o755)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BABYGUN_")}
    environ |= {
        "PATH": f"{programs}:/usr/bin:/bin",
        "XDG_CACHE_HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    if find_etcd(environ):
        pytest.skip("there is an etcd in /usr/bin, so none would be built")
    with subprocess.Popen(
        [sys.executable, "-m", "babygun.dev.etcd.build"],
        env=environ,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            pid = int(told.read_text())
            assert list((tmp_path / "babygun").glob("build-*"))
            process.send_signal(number)
            out, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 128 + number, out.decode()
    assert b"Traceback" not in out
    assert [path.name for path in (tmp_path / "babygun").iterdir()] == ["etcd.lock"]
    until_gone(pid)


def test_signal_that_comes_as_the_command_starts_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pids: list[int] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            pids.append(self.pid)
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(SystemExit), cleaning_up():
        run_shown(["sleep", "60"], env=os.environ, silence=30)
    until_gone(*pids)


def test_silence_ends_the_command_and_what_it_started() -> None:
    lines: list[str] = []
    silence = 3.0
    while not lines:  # it may stand still for longer before its line
        with pytest.raises(BuildFailed, match="no output for"):
            run_shown(
                ["sh", "-c", "sleep 60 & echo $! >&2; wait"],
                env=os.environ,
                silence=silence,
                line=lines.append,
            )
        silence *= 3
    until_gone(int(lines[0]))


def until_gone(pid: int) -> None:
    """Waits until an orphaned process has ended."""
    deadline = time.monotonic() + 60
    while not is_gone(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.01)
