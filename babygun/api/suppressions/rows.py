"""Splits a file of suppressions into rows while its bytes arrive: CSV or NDJSON, in UTF-8. Pure.

A row that can't be read is a BadRow with its line, and does not affect the others. Memory is
bounded, whatever arrives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from babygun.api.suppressions.csv_rows import LONGEST, CsvRows
from babygun.api.suppressions.row import BadFile, BadRow, Format, Row, own_name

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_BOM = b"\xef\xbb\xbf"
_SAVE = "Save the file as UTF-8 (in a spreadsheet: CSV UTF-8)."


class RowReader:
    """Give it the bytes as they come; :meth:`end` gives the last rows. Both raise BadFile.

    ``line``: the last line that was read.
    """

    def __init__(self, form: Format) -> None:
        self.line = 0
        self._csv = CsvRows() if form == "csv" else None
        self._rest = b""  # of a line that has not ended
        self._dropping = False  # the rest of a line that is too long

    @property
    def ignored(self) -> list[str]:
        """The columns of a CSV file that have no meaning here."""
        return self._csv.ignored if self._csv else []

    def feed(self, data: bytes) -> Iterator[Row | BadRow]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield from self._line(line)
        if len(self._rest) > LONGEST:
            if not self._dropping:
                yield from self._line(self._rest)
            self._rest, self._dropping = b"", True

    def end(self) -> Iterator[Row | BadRow]:
        if self._rest:
            yield from self._line(self._rest)
            self._rest = b""
        if self._csv:
            yield from self._csv.end()

    def _line(self, raw: bytes) -> Iterator[Row | BadRow]:
        if self._dropping:
            self._dropping = False
            return
        self.line += 1
        if self.line == 1:
            if raw.startswith(_UTF16):
                raise BadFile(f"The file is UTF-16. {_SAVE}")
            raw = raw.removeprefix(_BOM)
        if len(raw) > LONGEST:
            yield BadRow(self.line, f"The line has more than {LONGEST} bytes.")
            return
        try:
            text = raw.decode().removesuffix("\r")
        except UnicodeDecodeError:
            if self._csv and self.line == 1:
                raise BadFile(f"The first line is not UTF-8. {_SAVE}") from None
            yield BadRow(self.line, f"The line is not UTF-8. {_SAVE}")
            return
        if self._csv:
            yield from self._csv.add(self.line, text)
        elif text.strip():
            yield _json_row(self.line, text)


def _json_row(line: int, text: str) -> Row | BadRow:
    try:
        members = msgspec.json.decode(text, type=dict[str, Any])
    except (ValueError, RecursionError):
        return BadRow(line, 'The line is no JSON object such as {"email": "ann@example.org"}.')
    fields: dict[str, str] = {}
    for name, value in members.items():
        known = own_name(name)
        if known is None or value is None or value == "":
            continue
        if known in fields:
            return BadRow(line, f"Two members mean {known}. Take one of them out.")
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return BadRow(line, f"The member {known} must be a text.")
        fields[known] = str(value)
    return Row(line, fields)
