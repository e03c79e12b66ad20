"""The results of runs in a page."""

from __future__ import annotations

from pathlib import Path

from scripts.chaos.report import write_mutants, write_run
from scripts.chaos.verdict import Figures, Verdict

PAGE = """above
<!-- chaos:runs -->
<!-- /chaos:runs -->
<!-- chaos:mutants -->
<!-- /chaos:mutants -->
"""


def _verdict(acknowledged: int) -> Verdict:
    return Verdict(Figures(acknowledged=acknowledged), [], "")


def test_run_written_takes_the_place_of_an_earlier_one_with_its_seed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    for seed, acknowledged in ((7, 1), (3, 2000), (7, 3000)):
        write_run(page, _verdict(acknowledged), seed=seed, minutes=10, members=3)
    rows = [line for line in page.read_text().splitlines() if line.startswith("|")][2:]
    assert [row.split("|")[1:5] for row in rows] == [
        [" 3 ", " 10 ", " 3 ", " 2,000 "],
        [" 7 ", " 10 ", " 3 ", " 3,000 "],
    ]
    assert page.read_text().startswith("above\n")


def test_mutants_table_is_written_between_its_lines(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    write_mutants(page, "| mistake |\n|---|\n| one |")
    assert "<!-- chaos:mutants -->\n| mistake |\n|---|\n| one |\n<!-- /chaos" in page.read_text()
