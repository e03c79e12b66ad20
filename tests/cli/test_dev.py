"""``babygun dev``: what it refuses before anything starts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from babygun.cli.main import main


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--workers", "0"),
        ("--workers", "many"),
        ("--workers", "65"),
        ("--etcd-members", "2"),
        ("--etcd-members", "three"),
    ],
)
def test_number_that_cannot_be_is_refused_with_a_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    value: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["dev", option, value])
    assert ended.value.code == 2
    assert f"argument {option}: '{value}' is n" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_info_shows_what_runs_in_the_folder_or_one_value_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info = ["dev", "--data-dir", str(tmp_path), "--info"]
    assert main(info) == 1
    assert "nothing runs in" in capsys.readouterr().err
    running = {"api_url": "http://127.0.0.1:8081", "mailbox_url": None, "pid": os.getpid()}
    (tmp_path / "dev.json").write_text(json.dumps(running))
    assert main(info) == 0
    assert "api_url          http://127.0.0.1:8081\n" in capsys.readouterr().out
    assert main([*info, "api_url"]) == 0
    assert capsys.readouterr().out == "http://127.0.0.1:8081\n"
    assert main([*info, "api"]) == 2
    assert "there is no api: it is one of api_url, mailbox_url, pid" in capsys.readouterr().err
