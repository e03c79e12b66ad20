"""Logging: one line per event, ``event field=value …`` for people or one JSON object for collectors.

Events have the names of the domain's verbs; ids are always ``email_id``, ``queue``, ``worker_id``, ``request_id``,
``client_id``, ``trace_id``. Content and secrets are never logged. What a request or an attempt is about is said once (:func:`bound`),
and then stands in each line that its task, or a task that it starts, logs.

On a running event loop lines are made and written in batches: a system call for each would cost the API a quarter of its time, and to make
many one after the other takes half of what each takes between other work. A warning goes out at once, with all before it, and so does
everything at the process's end. What a field's value is must not change after the call.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
import time
from collections.abc import Iterator
from contextvars import ContextVar, Token
from functools import lru_cache
from select import PIPE_BUF
from typing import Any, TextIO

BATCH_SECONDS = 0.05  # the longest that a line waits

_COLOURS = {logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.CRITICAL: "\x1b[31m"}
_Event = tuple[float, int, str, dict[str, Any]]  # when, level, name, fields
_is_plain = re.compile(r"[!#-~]+").fullmatch

_root = logging.getLogger()
_own: _BatchHandler | None = None  # where the process's log goes, once it is configured
_as_json = json.JSONEncoder(ensure_ascii=False, default=str).encode

_bound: ContextVar[dict[str, Any] | None] = ContextVar("babygun_log_fields", default=None)


class bound:
    """Each line that is logged within carries ``fields``, and those of the blocks around it."""

    __slots__ = ("_fields", "_token")

    def __init__(self, **fields: Any) -> None:
        self._fields = fields

    def __enter__(self) -> None:
        self._token = bind(**self._fields)

    def __exit__(self, *_: object) -> None:
        _bound.reset(self._token)


def bind(**fields: Any) -> Token[dict[str, Any] | None]:
    """Each line that the running task logs from here on carries ``fields``."""
    return _bound.set({**(_bound.get() or {}), **fields})


def note(**fields: Any) -> None:
    """Adds to the innermost :func:`bound` block what has become known; outside of one nothing."""
    if (known := _bound.get()) is not None:
        known.update(fields)


def get_logger(name: str) -> Log:
    """The log of a component: ``api``, ``worker``, ``store``, ``health``, ``smtp``, ``dev``."""
    return Log(logging.getLogger(f"babygun.{name}"))


class Log:
    """A logger whose calls take an event's name and fields."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: str, **fields: Any) -> None:
        self._emit(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._emit(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._emit(logging.WARNING, event, fields)

    def error(self, event: str, *, exc: BaseException | None = None, **fields: Any) -> None:
        """``exc``: an unexpected exception whose traceback belongs to the line."""
        self._emit(logging.ERROR, event, fields, exc)

    def _emit(
        self, level: int, event: str, fields: dict[str, Any], exc: BaseException | None = None
    ) -> None:
        logger = self._logger
        if logger.isEnabledFor(level):
            for name, value in (_bound.get() or {}).items():
                if fields.get(name) is None:
                    fields[name] = value
            if exc is None and _own is not None and _root.handlers == [_own]:
                _own.add(
                    (time.time(), level, event, fields), level
                )  # a third of the way by a record
                return
            # Logger.log would walk the stack for the place of the call, which no line shows.
            exc_info = None if exc is None else (type(exc), exc, exc.__traceback__)
            logger.handle(
                logger.makeRecord(
                    logger.name, level, "", 0, event, (), exc_info, extra={"fields": fields}
                )
            )


class _TextFormatter(logging.Formatter):
    def __init__(self, component: str, process: int | None, colour: bool) -> None:
        super().__init__()
        self.component, self.colour = component, colour
        self.tail = f" process={process}" if process is not None else ""

    def format(self, record: logging.LogRecord) -> str:
        line = self.line(
            record.created, record.levelno, record.getMessage(), getattr(record, "fields", {})
        )
        if record.exc_info and record.exc_info[0]:
            line += "\n" + self.formatException(record.exc_info)
        return line

    def line(self, created: float, level: int, event: str, fields: dict[str, Any]) -> str:
        parts = (
            [_at(created), self.component, event]
            if level == logging.INFO
            else [_at(created), self.component, logging.getLevelName(level).lower(), event]
        )
        for name, value in fields.items():
            if value is not None:
                parts.append(
                    f"{name}={value if type(value) is str and _is_plain(value) else _plain(value)}"
                )
        line = " ".join(parts) + self.tail
        return f"{_COLOURS[level]}{line}\x1b[0m" if self.colour and level in _COLOURS else line


class _JsonFormatter(logging.Formatter):
    def __init__(self, component: str, process: int | None) -> None:
        super().__init__()
        self.component, self.process = component, process

    def format(self, record: logging.LogRecord) -> str:
        traceback = (
            self.formatException(record.exc_info)
            if record.exc_info and record.exc_info[0]
            else None
        )
        return self.line(
            record.created,
            record.levelno,
            record.getMessage(),
            getattr(record, "fields", {}),
            traceback,
        )

    def line(
        self,
        created: float,
        level: int,
        event: str,
        fields: dict[str, Any],
        traceback: str | None = None,
    ) -> str:
        entry: dict[str, Any] = {
            "at": _at(created),
            "level": logging.getLevelName(level).lower(),
            "component": self.component,
            "event": event,
            **{name: value for name, value in fields.items() if value is not None},
        }
        if self.process is not None:
            entry["process"] = self.process
        if traceback is not None:
            entry["traceback"] = traceback
        return _as_json(entry)


def _plain(value: Any) -> str:
    """A field's value on one line, whatever is in it: paths and names come from outside."""
    if type(value) is int or type(value) is float:
        return str(value)
    text = value if isinstance(value, str) else _as_json(value)
    if not isinstance(value, str) or (
        text and " " not in text and '"' not in text and text.isprintable()
    ):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _at(created: float) -> str:
    second = int(created)
    return f"{_second(second)}.{int((created - second) * 1000):03d}Z"


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


class _BatchHandler(logging.StreamHandler[TextIO]):
    """Writes the lines of BATCH_SECONDS together; outside of an event loop, each at once."""

    def __init__(
        self, stream: TextIO, formatter: _TextFormatter | _JsonFormatter, *, shared: bool
    ) -> None:
        """``shared``: other processes write to the same place, so no line may be cut."""
        super().__init__(stream)
        self.setFormatter(formatter)
        self.line = formatter.line
        self._shared = shared
        self._lines: list[str | _Event] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # whose timer will flush

    def emit(self, record: logging.LogRecord) -> None:
        self.add(self.format(record), record.levelno)

    def add(self, line: str | _Event, level: int) -> None:
        """``line``: made already, or what it is to be made of."""
        assert self.lock
        with self.lock:
            self._lines.append(line)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if level >= logging.WARNING:
            self.flush()
        elif self._loop is not loop:
            self._loop = loop
            loop.call_later(BATCH_SECONDS, self.flush)

    def flush(self) -> None:
        assert self.lock
        with self.lock:
            waiting, self._lines, self._loop = self._lines, [], None
            lines = [
                (line if isinstance(line, str) else self.line(*line)) + self.terminator
                for line in waiting
            ]
            if lines:
                for part in _uncut(lines) if self._shared else ("".join(lines),):
                    self.stream.write(part)
            super().flush()


def _uncut(lines: list[str]) -> Iterator[str]:
    """The lines, in parts that a pipe takes as a whole; a line that is longer is a part of its own."""
    part, size = "", 0
    for line in lines:
        length = len(line) if line.isascii() else len(line.encode(errors="replace"))
        if part and size + length > PIPE_BUF:
            yield part
            part, size = "", 0
        part, size = part + line, size + length
    yield part


def configure(
    component: str, *, level: str = "info", format: str = "text", process: int | None = None
) -> None:
    """Sends the process's log to standard error. ``process``: its number among several under one supervisor; each line then carries it."""
    for name in (
        "logThreads",
        "logProcesses",
        "logMultiprocessing",
        "logAsyncioTasks",
    ):  # what a record would find out, and no line shows
        setattr(logging, name, False)
    global _own
    _own = _BatchHandler(
        sys.stderr,
        _JsonFormatter(component, process)
        if format == "json"
        else _TextFormatter(component, process, sys.stderr.isatty()),
        shared=process is not None,
    )
    _root.handlers[:] = [_own]
    _root.setLevel(logging.WARNING)
    logging.getLogger("babygun").setLevel(level.upper())
