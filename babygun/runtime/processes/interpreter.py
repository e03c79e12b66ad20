"""How to start a process of our own with this Python, from any folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path


def python_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module.

    ``-P``: a file called ``email.py`` in the current folder must not replace Python's own.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def python_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """``environ``, plus what :func:`python_command` needs to find a checkout of Babygun."""
    environ = os.environ if environ is None else environ
    root = Path(__file__).parents[3]
    if root.name in ("site-packages", "dist-packages"):
        return dict(environ)
    given = environ.get("PYTHONPATH")
    return {**environ, "PYTHONPATH": f"{root}{os.pathsep}{given}" if given else str(root)}
