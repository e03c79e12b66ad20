"""The file with the keys that seal secrets, and its copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from babygun.errors import SettingsError
from babygun.pki.sealing import load_sealer
from babygun.pki.secrets_keys import NAME, ensure_secrets_keys
from babygun.runtime.settings import Settings

PARTS = ("api", "worker")


def read(folder: Path, part: str) -> str:
    return (folder / part / NAME).read_text()


def test_keys_are_made_once_the_same_for_every_part_and_for_this_user_only(tmp_path: Path) -> None:
    lines = list(ensure_secrets_keys(tmp_path, PARTS))
    assert lines == [f"{part}/{NAME}: made" for part in ("authority", *PARTS)]
    assert read(tmp_path, "api") == read(tmp_path, "worker") == read(tmp_path, "authority")
    assert (tmp_path / "api" / NAME).stat().st_mode & 0o777 == 0o600
    assert load_sealer(Settings(secrets_key_file=str(tmp_path / "api" / NAME)))
    assert list(ensure_secrets_keys(tmp_path, PARTS)) == []


def test_new_key_seals_and_the_ones_before_still_open(tmp_path: Path) -> None:
    list(ensure_secrets_keys(tmp_path, PARTS))
    settings = Settings(secrets_key_file=str(tmp_path / "api" / NAME))
    before = load_sealer(settings)
    assert before
    sealed = before.seal(b"x", b"name")
    lines = list(ensure_secrets_keys(tmp_path, PARTS, new=True))
    assert lines[0] == f"authority/{NAME}: a new key seals" and len(lines) == 3
    after = load_sealer(settings)
    assert after and after.key_id != before.key_id
    assert after.open(sealed, before.key_id, b"name") == b"x"


def test_lost_original_is_made_of_a_copy(tmp_path: Path) -> None:
    list(ensure_secrets_keys(tmp_path, PARTS))
    kept = read(tmp_path, "worker")
    for part in ("authority", "api"):
        (tmp_path / part / NAME).unlink()
    list(ensure_secrets_keys(tmp_path, PARTS))
    assert read(tmp_path, "authority") == read(tmp_path, "api") == kept


def test_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "authority").write_text("")
    with pytest.raises(SettingsError, match="can't be used"):
        list(ensure_secrets_keys(tmp_path, PARTS))
