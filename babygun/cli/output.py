"""How the commands read durations, and print: tables for people, JSON for programs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from babygun.runtime.setting_types import parse_duration


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns of printable text."""
    cells = [list(head), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def duration(text: str) -> float:
    """Seconds from an argument such as ``30s`` or ``10m``, for argparse."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def count_of(number: int, noun: str) -> str:
    """``1 worker``, ``2 workers``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def status_line(email: dict[str, Any]) -> str:
    """An e-mail's status, with its reason if it has one."""
    reason = email.get("status_reason")
    return f"{email['status']}: {reason}" if reason else str(email["status"])


def as_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=_bytes)


def printable(text: str) -> str:
    """With ``?`` for control characters, which could harm a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _bytes(value: object) -> str:
    if not isinstance(value, bytes):
        return str(value)
    if value.isascii() and value.decode().isprintable():
        return value.decode()
    return f"<{len(value)} bytes>"
