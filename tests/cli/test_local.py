"""Commands beside a ``babygun dev`` that has ended."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from babygun.cli.local import load_settings
from babygun.runtime.settings import Settings
from tests.support.commands import Command


@pytest.mark.parametrize(
    "left",
    [
        None,
        {},
        {
            "pid": 999999999,
            "api_url": "http://127.0.0.1:1",
            "client_id": "a",
            "client_secret": "b",
            "etcd_endpoints": ["http://127.0.0.1:1"],
        },
    ],
)
async def test_commands_where_dev_has_ended_say_what_is_missing_and_how_to_start_it(
    tmp_path: Path, left: dict[str, object] | None
) -> None:
    (tmp_path / ".babygun").mkdir()
    (tmp_path / ".babygun" / "client.json").write_text('{"client_id": "a", "client_secret": "b"}')
    if left is not None:  # of one that was killed
        (tmp_path / ".babygun" / "dev.json").write_text(json.dumps(left))
    workers = await Command(Settings(), tmp_path)("workers")
    assert workers.status == 2 and "don't know which API to use" in workers.error
    assert "`make run`" in workers.error and "BABYGUN_API_URL" in workers.error
    settings = Settings(etcd_endpoints=("http://127.0.0.1:1",), etcd_timeout=0.5)
    listed = await Command(settings, tmp_path)("clients", "list")
    assert listed.status == 1 and "no connection to etcd" in listed.error
    assert "make run" not in listed.error


@pytest.mark.parametrize("own", ["", "/etc/babygun/secrets-keys"])
def test_sealing_key_is_that_of_dev_unless_the_settings_name_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BABYGUN_SECRETS_KEY_FILE", own)
    monkeypatch.delenv("BABYGUN_ETCD_ENDPOINTS", raising=False)
    (tmp_path / ".babygun").mkdir()
    state = {"pid": os.getpid(), "etcd_endpoints": ["https://127.0.0.1:1"]}
    state["secrets_key_file"] = "/home/ann/secrets-keys"
    (tmp_path / ".babygun" / "dev.json").write_text(json.dumps(state))
    assert load_settings().secrets_key_file == (own or "/home/ann/secrets-keys")
