"""`make install` says how far it is, and all of what pip says where it fails."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from zipfile import ZipFile

import pytest

from tests.support.paths import ROOT


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """The address of a package index: what is in ``tmp_path/index``."""
    (tmp_path / "index").mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "index"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def _wheel(folder: Path, name: str) -> str:
    """Puts an empty package into the index. Returns its line of a lock file."""
    path = folder / "index" / name / f"{name}-1.5-py3-none-any.whl"
    path.parent.mkdir()
    facts = f"{name}-1.5.dist-info"
    with ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(f"{facts}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        wheel.writestr(f"{facts}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{facts}/RECORD", "")
    return f"{name}==1.5 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def _install(folder: Path, index: str, lock: str) -> subprocess.CompletedProcess[str]:
    (folder / "lock").write_text(lock)
    options = [f"--index-url={index}", "--no-cache-dir", f"--target={folder / 'there'}"]
    return subprocess.run(
        [sys.executable, "scripts/install_locked.py", str(folder / "lock"), *options],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("PIP_")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_packages_are_installed_and_counted(tmp_path: Path, index: str) -> None:
    names = [f"tiny{number:02}" for number in range(11)]
    not_here = 'other==1 ; python_version < "3" --hash=sha256:00'
    done = _install(
        tmp_path, index, "\n".join([not_here, *(_wheel(tmp_path, name) for name in names)])
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "  other, … (1 of 12)",
        "  tiny09 1.5, … (11 of 12)",
        "  unpacking the packages",
    ]
    assert not done.stderr
    assert all((tmp_path / "there" / f"{name}.py").exists() for name in names)


def test_package_that_is_not_the_locked_one_is_refused_with_pip_s_words(
    tmp_path: Path, index: str
) -> None:
    line = _wheel(tmp_path, "tiny")
    done = _install(tmp_path, index, line[:-4] + ("0000" if not line.endswith("0000") else "1111"))
    assert done.returncode == 1
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not (tmp_path / "there" / "tiny.py").exists()
