"""The links to etcd's programs, and the warning of an etcd that lacks something.

That a build works is seen by ``make install``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from babygun.dev.etcd.binary import EtcdBinary
from babygun.dev.etcd.build import EtcdUnprepared, link_programs, prepare_etcd, warning
from tests.dev.etcd.conftest import Program


def test_links_replace_old_ones_and_missing_programs_are_named(
    program: Program, environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    found_by_its_link = EtcdBinary(target / "etcd", "3.4.23", "path")
    assert link_programs(found_by_its_link, target) == ["etcdutl"]
    assert (target / "etcd").resolve() == etcd


def test_cache_that_cannot_be_written_names_what_to_set(
    environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    environ |= {"XDG_CACHE_HOME": str(tmp_path / "file")}
    with pytest.raises(EtcdUnprepared, match=r"Not a directory\. Set XDG_CACHE_HOME to a folder"):
        prepare_etcd(print, environ)


def test_machine_without_a_network_is_asked_for_a_mirror_or_an_etcd_of_its_own(
    environ: dict[str, str], tmp_path: Path
) -> None:
    go = tmp_path / "bin" / "go"
    go.write_text(
        "#!/bin/sh\n"
        'case "$*" in "list -deps"*) echo "dial tcp: network is unreachable" >&2; exit 1 ;; esac\n'
    )
    go.chmod(0o755)
    environ |= {"PIP_NO_INDEX": "1"}
    said: list[str] = []
    with pytest.raises(EtcdUnprepared, match="set HTTPS_PROXY, GOPROXY or PIP_INDEX_URL") as error:
        prepare_etcd(said.append, environ)
    assert "name it with BABYGUN_ETCD_BIN" in str(error.value)
    assert any("dial tcp: network is unreachable" in each for each in said)


def test_warning_names_what_this_etcd_lacks_and_where_that_is_repaired() -> None:
    text = warning("3.5.1")
    assert text.startswith("WARNING: etcd 3.5.1 can lose acknowledged writes")
    assert "against its quota" in text and "Use 3.5.33 or newer." in text
    assert "roles" not in text, "a development etcd has no roles"
    assert warning("3.6.14") == ""
