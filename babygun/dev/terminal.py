"""What ``babygun dev`` prints: lines, in colours where it prints to a terminal."""

from __future__ import annotations

import os
import sys

_CODES = {
    "bold": "1",
    "dim": "2",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}


class Terminal:
    """Standard output."""

    def __init__(self) -> None:
        self._coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def say(self, line: str) -> None:
        """Prints a line. If nobody reads the output any more, it is dropped."""
        try:
            print(line, flush=True)
        except (BrokenPipeError, ValueError):
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123

    def style(self, name: str, text: str) -> str:
        """``text`` in a colour, bold or dim."""
        return f"\x1b[{_CODES[name]}m{text}\x1b[0m" if self._coloured else text
