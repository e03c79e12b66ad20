"""Rows of CSV (RFC 4180) from lines, one after the other. Pure.

The first row names the columns. Without one, a row is an address, or an address and a reason. The
delimiter may be a semicolon or a tab.

A cell in quotation marks may hold line breaks. A quotation mark that nobody closes would take in
all that follows. So a row over several lines must have a cell for each column. Otherwise its first
line is wrong, and the others are rows of their own.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence

from babygun.api.suppressions.csv_cells import as_written
from babygun.api.suppressions.row import BadFile, BadRow, Row, own_name

MOST_LINES = 32  # of one row
LONGEST = 16 << 10  # characters of one row
_WITHOUT_HEAD = ("email", "reason")
_DELIMITERS = ",;\t"


class CsvRows:
    """``ignored``: the columns that have no meaning here. Raises BadFile by the first row."""

    def __init__(self) -> None:
        self.ignored: list[str] = []
        self._columns: Sequence[str | None] = ()
        self._delimiter = ","
        self._open: list[tuple[int, str]] = []  # the lines of a row that may go on
        self._quotes = self._size = 0  # in these lines

    def add(self, line: int, text: str) -> Iterator[Row | BadRow]:
        """The next line, without its end."""
        self._open.append((line, text))
        self._quotes += text.count('"')
        self._size += len(text)
        if self._quotes % 2 and len(self._open) < MOST_LINES and self._size < LONGEST:
            return
        yield from self._close()

    def end(self) -> Iterator[Row | BadRow]:
        while self._open:
            yield from self._close()

    def _close(self) -> Iterator[Row | BadRow]:
        """Reads what is open as one row. If it is none, only its first line is wrong."""
        lines, self._open = self._open, []
        self._quotes = self._size = 0
        first = lines[0][0]
        try:
            yield from self._row(first, "\n".join(text for _, text in lines), len(lines))
        except ValueError as error:
            yield BadRow(first, str(error))
            for line, text in lines[1:]:
                yield from self.add(line, text)

    def _row(self, line: int, text: str, lines: int) -> Iterator[Row]:
        """Raises ValueError with a sentence, and BadFile."""
        if not text.strip():
            return
        if not self._columns:
            self._delimiter = max(_DELIMITERS, key=text.count)
        try:
            cells = next(csv.reader([text], delimiter=self._delimiter, strict=True))
        except csv.Error:
            wrong = "A quotation mark is not closed, or stands within a cell."
            if not self._columns:
                raise BadFile(f"The first line can't be read. {wrong}") from None
            raise ValueError(wrong) from None
        while cells and not cells[-1].strip():
            cells.pop()
        if not self._columns and self._is_head(cells):
            return
        if len(cells) > len(self._columns) or (lines > 1 and len(cells) < len(self._columns)):
            raise ValueError(f"The row has {len(cells)} cells, not {len(self._columns)}.")
        fields = {
            name: as_written(cell.strip())
            for name, cell in zip(self._columns, cells, strict=False)
            if name and cell.strip()
        }
        if fields:
            yield Row(line, fields)

    def _is_head(self, cells: Sequence[str]) -> bool:
        """Whether the first row names the columns. Raises BadFile if these are of no use."""
        if any("@" in cell for cell in cells):
            self._columns = _WITHOUT_HEAD
            return False
        names = [own_name(cell) for cell in cells]
        if "email" not in names:
            raise BadFile(
                "The first line names no column email. Name the columns there, such as"
                " email,list,reason; or give one address a line."
            )
        for name in filter(None, names):
            if names.count(name) > 1:
                raise BadFile(f"Two columns of the first line mean {name}. Take one of them out.")
        self.ignored = [
            cell.strip()[:80] for cell, name in zip(cells, names, strict=True) if not name
        ]
        self._columns = names
        return True
