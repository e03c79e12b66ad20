"""systemd's environment files (systemd.exec(5)), as far as ours need them.

The standard library only: the stand-in of systemd-run reads them too.
"""

from __future__ import annotations

import shlex
from pathlib import Path


def read(path: Path) -> dict[str, str]:
    """The variables of an environment file."""
    found = {}
    for line in path.read_text().splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith(("#", ";")):
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
            found[name] = value[1:-1] if quoted else value
    return found


def assignments(text: str) -> dict[str, str]:
    """The variables of one ``Environment=``."""
    return dict(word.split("=", 1) for word in shlex.split(text))
