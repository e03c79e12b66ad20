"""What a benchmark ran on. Its numbers mean nothing without it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from scripts.bench.processes import BenchError, run
from scripts.choose_python import optimised


def describe(folder: Path) -> dict[str, Any]:
    """Cores, CPU, memory, kernel, and the disk of ``folder`` with the time of an fsync."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _first(r"model name\s*: (.*)", "/proc/cpuinfo") or platform.machine(),
        "memory_gib": round(
            os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30), 1
        ),
        "system": _first(r'PRETTY_NAME="(.*)"', "/etc/os-release") or platform.system(),
        "kernel": platform.release(),
        "python": platform.python_version()
        + ("" if optimised() else " (built without optimisations)"),
        "filesystem": _filesystem(folder),
        "fsync_ms": round(fsync_time(folder) * 1000, 3),
        "load_before": round(os.getloadavg()[0], 2),
    }


def fsync_time(folder: Path, tries: int = 50) -> float:
    """Median seconds of a small append with fdatasync, which each write to a log waits for."""
    taken = []
    path = folder / "fsync"
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    try:
        for _ in range(tries):
            os.write(file, b"x" * 2048)
            before = time.perf_counter()
            os.fdatasync(file)
            taken.append(time.perf_counter() - before)
    finally:
        os.close(file)
        path.unlink()
    return sorted(taken)[tries // 2]


def version(program: str | Path, *arguments: str, pattern: str = r"\d+(?:\.\d+)+") -> str:
    """The version that a program prints, or empty."""
    if shutil.which(program) is None:
        return ""
    try:
        found = re.search(pattern, run([program, *arguments], within=20))
    except BenchError:
        return ""
    return found[0] if found else ""


def _first(pattern: str, file: str) -> str:
    with suppress(OSError):
        found = re.search(pattern, Path(file).read_text())
        return found[1].strip() if found else ""
    return ""


def _filesystem(folder: Path) -> str:
    """The file system of a folder: that of the longest mount point above it."""
    best, kind = "", ""
    with suppress(OSError):
        for line in Path("/proc/mounts").read_text().splitlines():
            _, point, its_kind, *_ = line.split()
            if folder.resolve().is_relative_to(point) and len(point) >= len(best):
                best, kind = point, its_kind
    return kind
