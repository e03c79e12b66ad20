import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from babygun.dev.data_folder import DataFolder, FolderInUse
from babygun.errors import BabygunError


def silent(line: str) -> None:
    pass


def test_folder_and_secrets_are_for_this_user_only(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data").open(silent)
    folder.credentials()
    folder.write_dev_json({"pid": 1})
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    for name in ("client.json", "dev.json"):
        assert (tmp_path / "data" / name).stat().st_mode & 0o777 == 0o600
    folder.close()


def test_credentials_are_made_once(tmp_path: Path) -> None:
    first, second = DataFolder(tmp_path), DataFolder(tmp_path)
    made = first.open(silent).credentials()
    first.close()
    assert second.open(silent).credentials() == made
    second.close()


def test_broken_credentials_are_reported_with_the_way_out(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path).open(silent)
    (tmp_path / "client.json").write_text("{")
    with pytest.raises(BabygunError, match="delete it"):
        folder.credentials()
    folder.close()


def test_folder_of_a_running_one_is_refused(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path).open(silent)
    with pytest.raises(FolderInUse, match=rf"process {os.getpid()}\) uses .*--data-dir"):
        DataFolder(tmp_path).open(silent)
    folder.close()
    DataFolder(tmp_path).open(silent).close()


def test_dev_json_is_gone_after_the_run_and_after_one_that_was_killed(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path).open(silent)
    folder.write_dev_json({"pid": 1})
    assert json.loads((tmp_path / "dev.json").read_text()) == {"pid": 1}
    folder.close()
    assert not (tmp_path / "dev.json").exists()
    (tmp_path / "dev.json").write_text("{}")
    folder = DataFolder(tmp_path).open(silent)
    assert not (tmp_path / "dev.json").exists()
    folder.close()


def test_folder_of_a_killed_one_is_waited_for_until_its_guard_is_done(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path).open(silent)
    # The guard inherits the lock; here it is a process that ends when its input does.
    guard = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        pass_fds=[folder.lock],
    )
    os.pwrite(folder.lock, b"999999999\n", 0)  # the supervisor that was killed
    folder.close()
    assert guard.stdin is not None

    def cleaned_up(line: str) -> None:
        assert "waiting" in line
        assert guard.stdin is not None
        guard.stdin.close()

    second = DataFolder(tmp_path).open(cleaned_up)
    assert guard.wait(60) == 0
    second.close()


def test_folder_that_is_a_file_gets_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BabygunError, match="can't be used"):
        DataFolder(tmp_path / "file").open(silent)
