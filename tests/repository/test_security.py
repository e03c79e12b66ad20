"""``SECURITY.md``: each attack has tests, and each of them exists."""

from __future__ import annotations

import re

from tests.support.paths import ROOT

_SPAN = re.compile(r"`(tests/[\w/]+\.py|test_\w+)`")


def rows() -> dict[str, list[tuple[str, str]]]:
    """The attacks, each with its tests: file and name."""
    table = (ROOT / "SECURITY.md").read_text().partition("\n## Attacks, as tests\n")[2]
    found: dict[str, list[tuple[str, str]]] = {}
    for line in table.splitlines():
        if not line.startswith("| ") or line.startswith("| attack "):
            continue
        attack, tests = line.strip("| ").split(" | ")
        found[attack] = []
        for group in tests.split("; "):
            path, *names = _SPAN.findall(group)
            found[attack] += [(path, name) for name in names]
    return found


def test_every_attack_names_tests_that_exist() -> None:
    missing = [
        f"{attack}: {path} {name}"
        for attack, tests in rows().items()
        for path, name in tests
        if not (ROOT / path).is_file() or f"def {name}(" not in (ROOT / path).read_text()
    ]
    assert not missing, f"SECURITY.md names tests that are not there: {missing}"


def test_every_attack_has_a_test() -> None:
    assert len(rows()) > 10
    assert all(rows().values()), rows()
