"""Cells of CSV (RFC 4180) that a spreadsheet shows and never runs.

A cell that begins with ``=``, ``+``, ``-`` or ``@`` is a formula to a spreadsheet. A mail server
chooses the text of its replies, so it could write one. Such a cell is written behind an apostrophe,
and read without it. A cell that begins with an apostrophe gets one more: what is read is what was
written.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from io import StringIO

_RUN = ("=", "+", "-", "@", "'")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def csv_lines(rows: Iterable[Sequence[str]]) -> str:
    """The rows as lines of CSV, each with CRLF. A line break within a cell becomes a space."""
    text = StringIO()
    csv.writer(text).writerows([harmless(cell) for cell in row] for row in rows)
    return text.getvalue()


def harmless(cell: str) -> str:
    cell = _CONTROLS.sub(" ", cell).strip(" ")
    return f"'{cell}" if cell.startswith(_RUN) else cell


def as_written(cell: str) -> str:
    """A cell without the apostrophe that :func:`harmless` put before it."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_RUN) else cell
