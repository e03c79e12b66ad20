"""Installs the locked packages with the pip of this Python, and says how far it is.

    install_locked.py requirements.lock [options of pip install]

pip itself is silent for a minute or prints hundreds of lines. If it fails, all that it said is
printed, and the exit status is pip's.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_EVERY = 10  # packages, for one line
_PINNED = re.compile(r"([\w.-]+)==", re.ASCII)
_BEGUN = re.compile(
    r"(?:Collecting|Ignoring|Requirement already satisfied:) ([\w.-]+)(?:==([\w.]+))?", re.ASCII
)


def install(lock: Path, options: Sequence[str] = ()) -> int:
    """pip's exit status."""
    names = {
        found[1].lower() for line in lock.read_text().splitlines() if (found := _PINNED.match(line))
    }
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["--no-input", "--progress-bar=off", *options, "--require-hashes", "-r", str(lock)]
    said, seen = list[str](), set[str]()
    with subprocess.Popen(  # noqa: S603 (these very options)
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            said.append(line)
            if line.startswith("Installing collected packages"):
                print("  unpacking the packages", flush=True)
                continue
            begun = _BEGUN.match(line)
            if begun is None or (name := begun[1].lower()) not in names - seen:
                continue
            seen.add(name)
            if len(seen) % _EVERY == 1:
                version = f" {begun[2]}" if begun[2] else ""
                print(f"  {name}{version}, … ({len(seen)} of {len(names)})", flush=True)
    if pip.returncode:
        sys.stderr.writelines(said)
    return pip.returncode


if __name__ == "__main__":
    sys.exit(install(Path(sys.argv[1]), sys.argv[2:]))
