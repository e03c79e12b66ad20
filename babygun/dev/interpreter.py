"""How a process of our own is started with this Python, wherever Babygun is installed and whatever the current folder holds."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path


def python_command(module: str, *arguments: str) -> list[str]:
    """Runs a module. ``-P``: a file called ``email.py`` in the current folder must not stand in for Python's own."""
    return [sys.executable, "-P", "-m", module, *arguments]


def python_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """``environ``, with which ``python_command`` finds Babygun in a checkout that isn't installed too."""
    environ = os.environ if environ is None else environ
    root = Path(__file__).parents[2]
    if root.name in ("site-packages", "dist-packages"):
        return dict(environ)
    given = environ.get("PYTHONPATH")
    return {**environ, "PYTHONPATH": f"{root}{os.pathsep}{given}" if given else str(root)}
