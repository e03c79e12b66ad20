"""The parts of the benchmark of webhooks: its receiver, its table."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.bench.machine import describe
from scripts.bench.processes import BenchError, Stage
from scripts.bench.webhooks import Receiver, markdown
from tests.support.processes import PATIENCE


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Stage() as stage:
        yield Receiver(stage)


def post(receiver: Receiver, path: str, event_id: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=PATIENCE)
    try:
        connection.request("POST", path, b"{}", {"webhook-id": event_id})
        return connection.getresponse().status
    finally:
        connection.close()


def test_receiver_counts_each_event_of_a_path_once(receiver: Receiver) -> None:
    receiver.ask("reset")
    for path, event_id in (("/a", "1"), ("/a", "1"), ("/a", "2"), ("/b", "1")):
        assert post(receiver, path, event_id) == 200
    found = receiver.ask("count")
    assert (found["distinct"], found["requests"]) == (3, 4)
    assert found["last"] == receiver.wait(3)
    assert receiver.ask("reset")["distinct"] == 0


def test_receiver_leaves_some_paths_without_an_answer(receiver: Receiver) -> None:
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=PATIENCE) as connection:
        connection.sendall(b"POST /hang1 HTTP/1.1\r\nContent-Length: 0\r\nwebhook-id: x\r\n\r\n")
        while not receiver.ask("count")["hanging"]:
            pass
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)


def test_wait_for_events_that_do_not_come_fails(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.bench.webhooks._STALL", 0.0)
    with pytest.raises(BenchError, match="0 of 1 events"):
        receiver.wait(1)


def test_table_says_which_targets_were_reached(tmp_path: Path) -> None:
    rows = [
        {"what": "this", "found": "900 /s", "target": "1,000 /s", "ok": False},
        {"what": "that", "found": "2 s", "target": "3 s", "ok": True},
    ]
    result = {"parts": {"one": {"rows": rows}}, "at": "2026-01-01", "command": "", "commit": ""}
    text = markdown(result | {"machine": describe(tmp_path), "versions": {"etcd": "3.6"}})
    assert " yes |" in text and " **no** |" in text
