"""The vocabulary of the log is what the source logs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from babygun.runtime.log_events import CONTEXT, EVENTS
from tests.support.paths import ROOT

LEVELS = {"debug", "info", "warning", "error"}
ADD_CONTEXT = {"bound", "bind", "note"}
SOURCES = [
    path
    for path in sorted((ROOT / "babygun").rglob("*.py"))
    if path.name not in ("logs.py", "log_events.py")
]


class Logged(NamedTuple):
    where: str
    level: str
    event: str
    fields: frozenset[str]


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


def calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in nodes(path) if isinstance(node, ast.Call))


def logged(path: Path) -> Iterator[Logged]:
    """The calls of a module's log. Each has to name its event and its fields itself."""
    for call in calls(path):
        if not isinstance(call.func, ast.Attribute) or call.func.attr not in LEVELS:
            continue
        log = call.func.value
        name = log.id if isinstance(log, ast.Name) else getattr(log, "attr", "")
        if name.lstrip("_") != "log":
            continue
        where = f"{path.relative_to(ROOT)}:{call.lineno}"
        [event] = call.args
        assert isinstance(event, ast.Constant), f"{where}: write the event where it is logged"
        names = {keyword.arg for keyword in call.keywords}
        assert None not in names, f"{where}: write the fields where the event is logged"
        fields = frozenset(name for name in names if name is not None and name != "exc")
        yield Logged(where, call.func.attr, event.value, fields)


@cache
def all_logged() -> list[Logged]:
    """Not at import: each process of a run imports this."""
    return [found for path in SOURCES for found in logged(path)]


def test_calls_have_an_event_of_the_table_with_its_level_and_exactly_its_fields() -> None:
    rows = {event.name: event for event in EVENTS}
    wrong = [
        call
        for call in all_logged()
        if (row := rows.get(call.event)) is None
        or call.level not in row.levels.split(", ")
        or call.fields != set(row.fields.split())
    ]
    assert not wrong, "babygun/runtime/log_events.py says otherwise"


def test_events_of_the_table_are_all_logged_and_each_given_once() -> None:
    given = [(event.name, level) for event in EVENTS for level in event.levels.split(", ")]
    assert len({event.name for event in EVENTS}) == len(EVENTS)
    assert set(given) == {(call.event, call.level) for call in all_logged()}


def test_event_is_a_few_plain_words_and_its_meaning_a_sentence() -> None:
    for event in EVENTS:
        assert re.fullmatch(r"[A-Za-z-]+( [A-Za-z-]+){0,3}", event.name), event.name
        assert event.meaning.endswith("."), event.name


def test_context_of_the_table_is_what_the_source_adds() -> None:
    added = {
        keyword.arg
        for path in SOURCES
        for call in calls(path)
        if isinstance(call.func, ast.Name) and call.func.id in ADD_CONTEXT
        for keyword in call.keywords
        if keyword.arg is not None
    }
    assert added == set(CONTEXT)


def test_words_of_servers_are_logged_without_addresses() -> None:
    """Logs outlive what is stored, and are read by others than the e-mail's client."""
    masked = re.compile(r"quoted_to_others\(|hold\.status_reason$|body\.reason$")  # by an operator
    open_ones = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in SOURCES
        for call in calls(path)
        if isinstance(call.func, ast.Attribute) and call.func.attr in LEVELS
        for keyword in call.keywords
        if keyword.arg == "text" and not masked.match(ast.unparse(keyword.value))
    ]
    assert not open_ones, "pass them through quoted_to_others"


def test_loggers_are_all_called_log() -> None:
    """So the tests here see each call."""
    names = {
        (path.name, ast.unparse(node.targets[0]))
        for path in SOURCES
        for node in nodes(path)
        if isinstance(node, ast.Assign) and "get_logger(" in ast.unparse(node.value)
    }
    assert {name for _, name in names} == {"log"}, names
