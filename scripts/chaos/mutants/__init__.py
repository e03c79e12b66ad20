"""Mistakes of the product, as patches: each must be found by a rule, or the rules are too weak.

A patch begins with a sentence that says the mistake, and a line ``Run:`` with arguments for the
chaos command. A patch that does not apply any more is made again, on the code as it is.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
FOLDER = Path(__file__).parent
_COPIED = ("babygun", "scripts", "etcd", "pyproject.toml")
_RUN = "Run: "


@dataclass(frozen=True)
class Mutant:
    """``arguments``: of the run that has to find it."""

    name: str
    mistake: str
    arguments: tuple[str, ...]
    patch: Path

    def applies(self, root: Path = ROOT) -> str:
        """Why its patch does not apply to a tree, or empty."""
        return self._git(root, "apply", "--check")

    def copy_into(self, folder: Path) -> None:
        """Copies the tree, with this mistake. Raises ValueError if the patch does not apply."""
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, folder / name, ignore=ignored)
            else:
                shutil.copy(source, folder / name)
        if why := self._git(folder, "apply"):
            raise ValueError(f"{self.name}: {why}")

    def _git(self, folder: Path, *command: str) -> str:
        program = shutil.which("git") or "git"
        done = subprocess.run(
            [program, *command, str(self.patch)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            # A folder within a repository is patched as a folder of its own.
            env={"GIT_CEILING_DIRECTORIES": str(folder.parent), "PATH": "/usr/bin:/bin"},
        )
        return done.stderr.strip() if done.returncode else ""


def all_mutants() -> list[Mutant]:
    """Every patch of this folder."""
    return [_read(path) for path in sorted(FOLDER.glob("*.patch"))]


def _read(path: Path) -> Mutant:
    mistake, run, *_ = path.read_text().splitlines()
    if not run.startswith(_RUN):
        raise ValueError(f"{path.name}: the second line says how to run it, after {_RUN!r}")
    return Mutant(path.stem, mistake, tuple(shlex.split(run.removeprefix(_RUN))), path)
