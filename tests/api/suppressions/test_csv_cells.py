"""Cells that a spreadsheet never runs, and that are read as they were written."""

from __future__ import annotations

import csv
from io import StringIO

import pytest

from babygun.api.suppressions.csv_cells import as_written, csv_lines

HARMFUL = ['=1+1"', "+ann@example.org", "-x", "@SUM(A1)", "\t=1", "'=1", "''", "'+1"]


@pytest.mark.parametrize("cell", HARMFUL)
def test_cell_that_a_spreadsheet_would_run_is_written_as_a_text_and_read_back(cell: str) -> None:
    (row,) = csv.reader(StringIO(csv_lines([[cell, "plain"]])))
    assert row[0].startswith("'")
    assert as_written(row[0]) == cell.strip()
    assert row[1] == "plain"


@pytest.mark.parametrize("cell", ["", "ann@example.org", "o'neil@example.org", 'a "b", c'])
def test_other_cells_stay_as_they_are(cell: str) -> None:
    (row,) = csv.reader(StringIO(csv_lines([[cell]]))) or [[""]]
    assert row == [cell] and as_written(cell) == cell


def test_line_break_in_a_cell_becomes_a_space() -> None:
    assert csv_lines([["550 no\r\nsuch user", "b"], ["c", "d"]]) == "550 no such user,b\r\nc,d\r\n"
