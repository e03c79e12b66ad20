"""The results of runs in a page."""

from __future__ import annotations

from pathlib import Path

from scripts.chaos.levels import Level
from scripts.chaos.report import write_mutants, write_run, write_soak
from scripts.chaos.verdict import Figures, Verdict

PAGE = """above
<!-- chaos:runs -->
<!-- /chaos:runs -->
<!-- chaos:soaks -->
<!-- /chaos:soaks -->
<!-- chaos:mutants -->
<!-- /chaos:mutants -->
"""


def _verdict(acknowledged: int) -> Verdict:
    return Verdict(Figures(acknowledged=acknowledged), [], "")


def _write_run(page: Path, seed: int, acknowledged: int, *problems: str) -> None:
    verdict = _verdict(acknowledged)
    write_run(page, verdict, seed=seed, minutes=10, members=3, rate=42.4, problems=problems)


def test_run_written_takes_the_place_of_an_earlier_one_with_its_seed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    for seed, acknowledged in ((7, 1), (3, 2000), (7, 3000)):
        _write_run(page, seed, acknowledged)
    rows = [line for line in page.read_text().splitlines() if line.startswith("|")][2:]
    assert [row.split("|")[1:6] for row in rows] == [
        [" 3 ", " 10 ", " 3 ", " 42 ", " 2,000 "],
        [" 7 ", " 10 ", " 3 ", " 42 ", " 3,000 "],
    ]
    assert page.read_text().startswith("above\n")
    assert all(row.endswith("| clean |") for row in rows)


def test_run_with_a_problem_that_no_rule_sees_is_not_written_as_clean(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    _write_run(page, 7, 1, "kill-api: it did not heal")
    assert "| 0 violations, 1 problems |" in page.read_text()


def test_mutants_rows_are_written_and_those_of_other_mutants_stay(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    head = "| mistake | found by |\n|---|---|\n"
    first, second = "| one | `a` |", "| two | `b` |"
    write_mutants(page, f"{head}| gone | `a` |\n{second}", ["gone", "two"])
    write_mutants(page, f"{head}{first}", ["one", "two"])
    assert f"mutants -->\n{head}{first}\n{second}\n<!-- /chaos" in page.read_text()


def test_soak_is_written_with_what_grew_most(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    found = [
        Level("memory of api 1", "MiB", 60, 62.5, 82),
        Level("memory of worker 1", "MiB", 60, 61, 82),
        Level("p50 to the 202", "ms", 5, 6, 17),
    ]
    write_soak(page, _verdict(9000), found, seed=7, minutes=30, problems=["one"])
    row = next(line for line in page.read_text().splitlines() if line.startswith("| 7 "))
    assert "| 9,000 |" in row and "| +2.5 MiB (api 1) |" in row and "| 5, 6 ms |" in row
    assert row.endswith("| 0 violations, 1 problems |")
