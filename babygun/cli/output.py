"""What the commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns. Control characters of foreign text don't reach the terminal."""
    cells = [list(head), *([_plain(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def count_of(number: int, noun: str) -> str:
    """``1 worker``, ``2 workers``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def as_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=_bytes)


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _bytes(value: object) -> str:
    if isinstance(value, bytes):
        return (
            value.decode("utf-8")
            if value.isascii() and value.decode().isprintable()
            else f"<{len(value)} bytes>"
        )
    return str(value)
