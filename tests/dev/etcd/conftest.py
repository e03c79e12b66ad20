"""Small scripts that print a version: an etcd is what its ``--version`` says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Program = Callable[..., Path]


@pytest.fixture
def program() -> Program:
    """Writes a program that says it is an etcd of this version."""

    def write(path: Path, version: str, *, status: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (f"echo 'etcd Version: {version}'", "echo 'Git SHA: Not provided'")
        path.write_text("\n".join(("#!/bin/sh", *lines, f"exit {status}\n")))
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment in which there is no etcd yet."""
    (tmp_path / "bin").mkdir()
    return {
        "PATH": str(tmp_path / "bin"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HOME": str(tmp_path),
    }
