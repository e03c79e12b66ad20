"""The links to etcd's programs. That a build works is seen by ``make install``."""

from __future__ import annotations

from pathlib import Path

import pytest

from babygun.dev.etcd.binary import EtcdBinary
from babygun.dev.etcd.build import link_programs
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
