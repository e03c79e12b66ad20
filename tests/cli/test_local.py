"""Commands beside a ``babygun dev`` that has ended."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

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
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    workers = await Command(Settings(), tmp_path)("workers")
    assert workers.status == 2 and "don't know which API to use" in workers.error
    assert "`make run`" in workers.error and "BABYGUN_API_URL" in workers.error
    settings = Settings(etcd_endpoints=(f"http://127.0.0.1:{port}",), etcd_timeout=0.5)
    listed = await Command(settings, tmp_path)("client", "list")
    assert listed.status == 1 and "no connection to etcd" in listed.error
    assert "make run" not in listed.error
