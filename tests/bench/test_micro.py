"""The micro-benchmarks still run: they are no part of the tests, and would rot unseen."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT


@pytest.mark.timeout(300)
def test_micro_benchmarks_run_once_each_as_make_calls_them() -> None:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")
    }
    options = ["-o", "addopts=--strict-markers", "-o", "python_files=micro_*.py"]
    makefile = (ROOT / "Makefile").read_text()
    assert " ".join(options[:2]) in makefile
    assert "python_files='micro_*.py' tests/micro" in makefile
    options += ["--benchmark-disable", "-q"]
    # These take seconds to load.
    for plugin in ("cacheprovider", "schemathesis", "hypothesispytest", "xdist"):
        options += ["-p", f"no:{plugin}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "tests/micro"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0 and "passed" in done.stdout, done.stdout + done.stderr
