"""Which etcd is found: the order of the places, and what counts as an etcd."""

import os
from pathlib import Path

import pytest

from babygun.dev.etcd.binary import (
    FALLBACK_VERSION,
    PINNED_VERSION,
    EtcdBinary,
    cache_folder,
    cache_root,
    find_etcd,
    version_of,
)
from babygun.dev.etcd.build import EtcdUnprepared, prepare_etcd
from babygun.errors import SettingsError
from tests.dev.etcd.conftest import Program


def test_search_with_nothing_there_finds_nothing(environ: dict[str, str]) -> None:
    assert find_etcd(environ) is None


def test_search_takes_the_chosen_one_whatever_its_version(
    program: Program, environ: dict[str, str], tmp_path: Path
) -> None:
    program(tmp_path / "bin" / "etcd", "3.6.16")
    mine = program(tmp_path / "mine" / "etcd", "3.5.1")
    assert find_etcd({**environ, "BABYGUN_ETCD_BIN": str(mine)}) == EtcdBinary(
        mine, "3.5.1", "setting"
    )


@pytest.mark.parametrize("what", ["missing", "broken", "other"])
def test_search_with_a_chosen_one_that_does_not_run_is_refused(
    program: Program, environ: dict[str, str], tmp_path: Path, what: str
) -> None:
    program(tmp_path / "bin" / "etcd", "3.6.16")
    path = tmp_path / what
    if what == "broken":
        program(path, "3.6.16", status=1)
    elif what == "other":
        path.write_text("#!/bin/sh\necho something else 1.2.3\n")
        path.chmod(0o755)
    with pytest.raises(SettingsError, match="BABYGUN_ETCD_BIN"):
        find_etcd({**environ, "BABYGUN_ETCD_BIN": str(path)})


def test_search_takes_the_one_on_the_path_before_the_cached_one(
    program: Program, environ: dict[str, str], tmp_path: Path
) -> None:
    program(cache_folder(PINNED_VERSION, environ) / "etcd", PINNED_VERSION)
    path = program(tmp_path / "bin" / "etcd", "3.5.33")
    assert find_etcd(environ) == EtcdBinary(path, "3.5.33", "path")


@pytest.mark.parametrize("old", ["3.4.23", "3.4.46", "3.5.1", "3.5.16", "3.6.13", "3.7.0"])
def test_search_skips_one_on_the_path_that_lacks_something(
    program: Program, environ: dict[str, str], tmp_path: Path, old: str
) -> None:
    program(tmp_path / "bin" / "etcd", old)
    newer = program(tmp_path / "bin2" / "etcd", "3.6.14")
    cached = program(cache_folder(PINNED_VERSION, environ) / "etcd", PINNED_VERSION)
    assert find_etcd(environ) == EtcdBinary(cached, PINNED_VERSION, "cache")
    assert find_etcd({**environ, "PATH": f"{environ['PATH']}:{tmp_path / 'bin2'}"}) == EtcdBinary(
        newer, "3.6.14", "path"
    )


def test_search_of_a_link_on_the_path_to_the_cached_one_says_cache(
    program: Program, environ: dict[str, str], tmp_path: Path
) -> None:
    cached = program(cache_folder(PINNED_VERSION, environ) / "etcd", PINNED_VERSION)
    (tmp_path / "bin" / "etcd").symlink_to(cached)
    found = find_etcd(environ)
    assert found is not None
    assert found.source == "cache"


def test_search_takes_the_fallback_last(program: Program, environ: dict[str, str]) -> None:
    path = program(cache_folder(FALLBACK_VERSION, environ) / "etcd", FALLBACK_VERSION)
    assert find_etcd(environ) == EtcdBinary(path, FALLBACK_VERSION, "fallback")
    program(cache_folder(PINNED_VERSION, environ) / "etcd", PINNED_VERSION)
    found = find_etcd(environ)
    assert found is not None
    assert found.source == "cache"


def test_cache_is_in_the_users_cache_folder_even_without_a_home(tmp_path: Path) -> None:
    assert (
        cache_root({"XDG_CACHE_HOME": str(tmp_path), "HOME": "/elsewhere"}) == tmp_path / "babygun"
    )
    assert cache_root({"HOME": str(tmp_path)}) == tmp_path / ".cache" / "babygun"
    assert (
        cache_root({"XDG_CACHE_HOME": "relative", "HOME": str(tmp_path)})
        == tmp_path / ".cache" / "babygun"
    )
    assert cache_root({"HOME": ""}).is_absolute()


def test_user_without_a_home_finds_other_etcds_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert find_etcd({"PATH": ""}) is None
    with pytest.raises(EtcdUnprepared, match="Set XDG_CACHE_HOME"):
        prepare_etcd(print, {"PATH": ""})


def test_version_of_a_program_that_is_no_program_is_none(tmp_path: Path) -> None:
    text = tmp_path / "etcd"
    text.write_text("not a program")
    assert version_of(text) is None
    text.chmod(0o755)
    assert version_of(text) is None
    assert version_of(tmp_path) is None
