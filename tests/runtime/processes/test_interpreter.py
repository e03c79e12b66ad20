"""Starting our own modules."""

import subprocess
from pathlib import Path

from babygun.runtime.processes.interpreter import python_command, python_environment


def test_own_processes_start_whatever_the_current_folder_holds(tmp_path: Path) -> None:
    for name in ("signal", "email", "json", "babygun"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    answer = subprocess.run(
        [*python_command("babygun", "--version")],
        env=python_environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert answer.stdout.startswith("babygun "), answer.stderr
