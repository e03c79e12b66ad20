"""``babygun dev``: what it refuses before anything starts."""

from __future__ import annotations

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
