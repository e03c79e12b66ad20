"""What counts as an etcd is what its ``--version`` says, so small scripts that print one stand for it here."""

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
from babygun.dev.etcd.build import link_programs
from babygun.dev.etcd.toolchain import go_environment, is_tampering
from babygun.errors import SettingsError


def program(path: Path, version: str, *, status: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"#!/bin/sh\necho 'etcd Version: {version}'\necho 'Git SHA: Not provided'\nexit {status}\n"
    )
    path.chmod(0o755)
    return path


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "bin").mkdir()
    return {
        "PATH": str(tmp_path / "bin"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HOME": str(tmp_path),
    }


def test_lookup_with_nothing_there_finds_nothing(environ: dict[str, str]) -> None:
    assert find_etcd(environ) is None


def test_lookup_takes_the_chosen_one_whatever_its_version(
    environ: dict[str, str], tmp_path: Path
) -> None:
    program(tmp_path / "bin" / "etcd", "3.6.16")
    mine = program(tmp_path / "mine" / "etcd", "3.5.1")
    assert find_etcd({**environ, "BABYGUN_ETCD_BIN": str(mine)}) == EtcdBinary(
        mine, "3.5.1", "setting"
    )


@pytest.mark.parametrize("what", ["missing", "broken", "other"])
def test_lookup_with_a_chosen_one_that_does_not_run_is_refused(
    environ: dict[str, str], tmp_path: Path, what: str
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


def test_lookup_takes_the_one_on_the_path_before_the_cached_one(
    environ: dict[str, str], tmp_path: Path
) -> None:
    program(cache_folder(PINNED_VERSION, environ) / "etcd", PINNED_VERSION)
    path = program(tmp_path / "bin" / "etcd", "3.4.23")
    assert find_etcd(environ) == EtcdBinary(path, "3.4.23", "path")


def test_lookup_passes_over_an_old_one_on_the_path(environ: dict[str, str], tmp_path: Path) -> None:
    program(tmp_path / "bin" / "etcd", "3.5.1")
    newer = program(tmp_path / "bin2" / "etcd", "3.5.6")
    cached = program(cache_folder(PINNED_VERSION, environ) / "etcd", PINNED_VERSION)
    assert find_etcd(environ) == EtcdBinary(cached, PINNED_VERSION, "cache")
    assert find_etcd({**environ, "PATH": f"{environ['PATH']}:{tmp_path / 'bin2'}"}) == EtcdBinary(
        newer, "3.5.6", "path"
    )


def test_lookup_of_a_link_on_the_path_to_the_cached_one_says_cache(
    environ: dict[str, str], tmp_path: Path
) -> None:
    cached = program(cache_folder(PINNED_VERSION, environ) / "etcd", PINNED_VERSION)
    (tmp_path / "bin" / "etcd").symlink_to(cached)
    found = find_etcd(environ)
    assert found is not None
    assert found.source == "cache"


def test_lookup_takes_the_fallback_last(environ: dict[str, str]) -> None:
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


def test_version_of_a_program_that_is_no_program_is_none(tmp_path: Path) -> None:
    text = tmp_path / "etcd"
    text.write_text("not a program")
    assert version_of(text) is None
    text.chmod(0o755)
    assert version_of(text) is None
    assert version_of(tmp_path) is None


def test_links_replace_old_ones_and_missing_programs_are_named(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", environ["PATH"])
    etcd = program(tmp_path / "new" / "etcd", "3.4.23")
    program(tmp_path / "new" / "etcdctl", "3.4.23")
    target = tmp_path / "venv-bin"
    target.mkdir()
    (target / "etcd").symlink_to(tmp_path / "gone")
    (target / "etcdutl").symlink_to(tmp_path / "gone")
    assert link_programs(EtcdBinary(etcd, "3.4.23", "path"), target) == ["etcdutl"]
    assert (target / "etcd").resolve() == etcd
    assert (target / "etcdctl").resolve() == tmp_path / "new" / "etcdctl"
    assert not (target / "etcdutl").is_symlink()
    assert link_programs(EtcdBinary(target / "etcd", "3.4.23", "path"), target) == [
        "etcdutl"
    ]  # found through its own link
    assert (target / "etcd").resolve() == etcd


@pytest.mark.parametrize(
    ("output", "tampered"),
    [
        (
            "verifying go.etcd.io/bbolt@v1.4.3: checksum mismatch\n\tdownloaded: h1:a\n\tgo.sum: h1:b\n\nSECURITY ERROR",
            True,
        ),
        ("go.mod:3: missing go.sum entry for module providing package x", True),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", True),
        ('Get "https://proxy.example/x.zip": dial tcp: lookup proxy.example: no such host', False),
    ],
)
def test_wrong_checksum_is_told_from_a_dead_network(output: str, tampered: bool) -> None:
    assert is_tampering(output) is tampered


def test_go_builds_what_is_pinned_whatever_the_users_variables_say(tmp_path: Path) -> None:
    given = {
        "PATH": "/bin",
        "GOFLAGS": "-mod=mod",
        "GOOS": "plan9",
        "GOROOT": "/old",
        "GOPROXY": "https://proxy.example",
    }
    env = go_environment("/no/such/go", tmp_path, given)
    assert "-mod=readonly" in env["GOFLAGS"]
    assert not {"GOOS", "GOROOT"} & set(env)
    assert env["GOTOOLCHAIN"] == "local"
    assert env["GOPROXY"] == "https://proxy.example"  # where to fetch from is theirs to say
    assert Path(env["GOMODCACHE"]).is_relative_to(
        tmp_path
    )  # and nothing is left behind where they have no caches
    assert Path(env["GOCACHE"]).is_relative_to(tmp_path)
