"""Lines of the log: one per event, whatever is in it, written at once."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from babygun.runtime import logs


class Writes(io.StringIO):
    """``parts``: what came with each call."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def write(self, part: str) -> int:
        self.parts.append(part)
        return super().write(part)


Configure = Callable[..., Writes]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """Sets the log up as a process does, and returns what it writes to.

    pytest's own handlers come back after the test.
    """
    root, ours = logging.getLogger(), logging.getLogger("babygun")
    before = (root.handlers[:], root.level, ours.level)

    def set_up(**arguments: Any) -> Writes:
        stream = Writes()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", stream)
            logs.configure("api", **arguments)
        return stream

    yield set_up
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


log = logs.get_logger("api")


def test_line_has_time_component_event_and_fields(configure: Configure) -> None:
    stream = configure()
    log.info(
        "request",
        path="/emails",
        status=202,
        ms=1.5,
        nothing=None,
        words="a b",
        both='"',
        empty="",
        flag=True,
        many=[1, "x"],
    )
    at, rest = stream.getvalue().split(" ", 1)
    assert len(at) == len("2026-11-25T00:11:39.123Z")
    assert rest == (
        'api request path=/emails status=202 ms=1.5 words="a b" both="\\"" empty="" flag=true'
        ' many=[1,"x"]\n'
    )


@pytest.mark.parametrize("format", ["text", "json"])
def test_value_with_control_characters_stays_on_its_line_and_harmless(
    configure: Configure, format: str
) -> None:
    values = [
        "a\nb",
        "a\rb",
        "a\u2028b",
        "\x1b[31m",
        "\x9b31m",
        "\x00",
        "a\x85b",
        "\x7f",
        "\u202ea",
    ]
    values += ["\U000e0001", "żółw"]
    stream = configure(format=format)
    for value in values:
        log.info("request", path=value)
    lines = stream.getvalue().splitlines(keepends=True)
    assert len(lines) == len(values)
    assert all(line.endswith("\n") and line[:-1].isprintable() for line in lines)
    if format == "json":
        assert [json.loads(line)["path"] for line in lines] == values


def test_json_line_is_an_object_with_the_same(configure: Configure) -> None:
    stream = configure(format="json")
    log.error("failed", exc=ValueError("no"), path="a\nb", nothing=None)
    entry = json.loads(stream.getvalue())
    assert entry.pop("at")
    assert "ValueError: no" in entry.pop("traceback")
    assert entry == {"level": "error", "component": "api", "event": "failed", "path": "a\nb"}


async def test_lines_of_a_task_and_of_tasks_that_it_starts_carry_what_it_is_about(
    configure: Configure,
) -> None:
    stream = configure(format="json")

    async def below() -> None:
        logs.bind(worker_id="w")
        logs.note(late=1)
        log.info("below")

    async def bound() -> None:
        logs.bind(request_id="r", queue="a")
        logs.note(email_id="e")
        log.warning("first", queue="b", email_id=None)
        await asyncio.create_task(below())
        log.warning("after")

    await asyncio.create_task(bound())
    logs.note(email_id="nobody's")
    log.warning("outside")
    entries = [json.loads(line) for line in stream.getvalue().splitlines()]
    known = [
        {name: entry[name] for name in entry if name not in ("at", "level", "component")}
        for entry in entries
    ]
    assert known == [
        {"event": "first", "queue": "b", "email_id": "e", "request_id": "r"},
        {
            "event": "below",
            "request_id": "r",
            "queue": "a",
            "email_id": "e",
            "worker_id": "w",
            "late": 1,
        },
        {"event": "after", "request_id": "r", "queue": "a", "email_id": "e"},
        {"event": "outside"},
    ]


async def test_line_is_written_at_once_and_as_a_whole(configure: Configure) -> None:
    """So lines of several processes that share a pipe do not mix."""
    stream = configure(process=1)
    log.info("one", words="ä" * 2000)
    assert len(stream.parts) == 1
    log.warning("two")
    log.info("three")
    assert [part.split(" ")[-2] for part in stream.parts[1:]] == ["two", "three"]
    assert all(part.endswith("process=1\n") for part in stream.parts)


def test_line_that_nobody_can_read_any_more_is_dropped(configure: Configure) -> None:
    stream = configure()
    stream.close()
    log.info("one")


@pytest.mark.parametrize("format", ["text", "json"])
def test_line_of_one_of_several_processes_names_it(configure: Configure, format: str) -> None:
    written = configure(process=2, format=format)
    log.info("stopping", url="u")
    line = written.getvalue()
    assert (
        json.loads(line)["process"] == 2
        if format == "json"
        else line.endswith(" api stopping url=u process=2\n")
    )
