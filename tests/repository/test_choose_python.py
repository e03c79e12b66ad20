"""Which Python `make install` takes."""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.choose_python import choose


def test_choose_with_a_python_that_will_do_keeps_it() -> None:
    assert choose(True, sys.executable) == "python3"


def test_choose_with_one_that_will_not_do_takes_the_system_s_own() -> None:
    assert choose(False, sys.executable) == sys.executable


def test_choose_without_a_usable_system_python_keeps_what_there_is(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    assert choose(False, str(old)) == "python3"
    assert choose(False, str(tmp_path / "none")) == "python3"
