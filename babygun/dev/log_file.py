"""A process's log on disk: the current file and the one before, so that it stays small."""

from __future__ import annotations

from pathlib import Path

MOST_BYTES = 10 << 20  # of one file


class LogFile:
    """Appends lines to ``path``. A full file is renamed to ``path.1``, and a new one begins."""

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self._path, self._most_bytes = path, most_bytes
        self._file = path.open("a", encoding="utf-8", errors="replace", buffering=1)

    def write(self, line: str) -> None:
        if self._file.closed:  # a killed process's last lines may come late
            return
        self._file.write(line + "\n")
        if self._file.tell() > self._most_bytes:
            self._file.close()
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._file = self._path.open("a", encoding="utf-8", errors="replace", buffering=1)

    def close(self) -> None:
        self._file.close()
