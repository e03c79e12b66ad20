import os
import sys
import time
from pathlib import Path

import pytest

from babygun.dev.build_process import BuildFailed, run_shown


def test_output_comes_back_and_errors_line_by_line() -> None:
    lines: list[str] = []
    printed = run_shown([sys.executable, "-c", "import sys; print('out'); sys.stderr.write('one\\ntwo')"], env=os.environ, silence=30, line=lines.append)
    assert printed == "out\n"
    assert lines == ["one", "two"]


def test_failure_carries_what_was_said() -> None:
    with pytest.raises(BuildFailed, match="the reason"):
        run_shown([sys.executable, "-c", "import sys; sys.exit('the reason')"], env=os.environ, silence=30)
    with pytest.raises(BuildFailed, match="No such file"):
        run_shown(["/no/such/program"], env=os.environ, silence=30)


def test_silence_ends_the_command_and_what_it_started(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = (
        f"import subprocess, sys; p = subprocess.Popen(['sleep', '60']); open({str(pid_file)!r}, 'w').write(str(p.pid)); sys.stderr.write('here\\n'); sys.stderr.flush(); p.wait()"
    )
    with pytest.raises(BuildFailed, match="nothing more came"):
        run_shown([sys.executable, "-c", script], env=os.environ, silence=1.0)
    pid = int(pid_file.read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
