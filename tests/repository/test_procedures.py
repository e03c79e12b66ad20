"""The commands of the operators' pages are run by tests: a new block needs one."""

from __future__ import annotations

import pytest

from tests.support.paths import ROOT
from tests.support.procedures import sections

# The tests that run the blocks below a heading unpack them, so each block is known to them.
RUN_BY = {
    "deploy/systemd/README.md": ("tests/hosts/test_one_host.py", "tests/hosts/test_three_hosts.py"),
    "docs/operations.md": (
        "tests/cluster/test_procedures.py",
        "tests/cluster/test_backup.py",
        "tests/hosts/test_one_host.py",
    ),
}
# Headings whose blocks no test runs, and why.
NOT_RUN = {
    "Settings": "it downloads wheels from a package index",
    "On three hosts": "deploy/systemd/README.md has the same command",
}


@pytest.mark.parametrize("page", RUN_BY)
def test_blocks_of_commands_are_run_by_a_test(page: str) -> None:
    tests = "\n".join((ROOT / path).read_text() for path in RUN_BY[page])
    headings = sections(ROOT / page).keys() - NOT_RUN.keys()
    assert {heading for heading in headings if f'["{heading}"]' not in tests} == set()
