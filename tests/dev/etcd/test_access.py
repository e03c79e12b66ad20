"""The certificates of the embedded etcd, and the lines that let etcdctl in."""

from pathlib import Path

import pytest

from babygun.dev.etcd.access import EtcdAccess
from babygun.errors import SettingsError


def test_certificates_are_made_once_and_keys_are_for_their_user_alone(tmp_path: Path) -> None:
    access = EtcdAccess.prepare(tmp_path)
    made = {path: path.read_bytes() for path in tmp_path.rglob("*.pem")}
    assert {path.stat().st_mode & 0o077 for path in made if path.name.endswith("-key.pem")} == {0}
    EtcdAccess.prepare(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.pem")} == made
    assert all(Path(path) in made for path in access.settings.values())


def test_folder_that_cannot_have_certificates_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "etcd").write_text("in the way")
    with pytest.raises(SettingsError, match="can't make certificates for etcd"):
        EtcdAccess.prepare(tmp_path)


def test_lines_for_etcdctl_quote_a_folder_with_a_space(tmp_path: Path) -> None:
    lines = EtcdAccess(tmp_path / "a b").etcdctl(["https://a:1", "https://a:2"])
    assert "export ETCDCTL_ENDPOINTS=https://a:1,https://a:2\n" in lines
    assert f"export ETCDCTL_KEY='{tmp_path}/a b/client-key.pem'\n" in lines
