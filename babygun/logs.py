"""Logging: one line per event, ``event field=value …`` for people or one JSON object for collectors.

Events have the names of the domain's verbs; ids are always ``email_id``, ``queue``, ``worker_id``, ``request_id``,
``client_id``, ``trace_id``. Content and secrets are never logged. What a request or an attempt is about is said once (:func:`bound`),
and then stands in each line that its task, or a task that it starts, logs.

On a running event loop lines are written in batches, as a system call for each would cost the API a quarter of its time;
a warning goes out at once, with all before it, and so does everything at the process's end.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from select import PIPE_BUF
from typing import Any, TextIO

BATCH_SECONDS = 0.05  # the longest that a line waits

_COLOURS = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m"}


_as_json = json.JSONEncoder(ensure_ascii=False, default=str).encode

_bound: ContextVar[dict[str, Any] | None] = ContextVar("babygun_log_fields", default=None)


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Each line that is logged within carries ``fields``, and those of the blocks around it."""
    token = _bound.set({**(_bound.get() or {}), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def bind(**fields: Any) -> None:
    """Each line that the running task logs from here on carries ``fields``."""
    _bound.set({**(_bound.get() or {}), **fields})


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

    def _emit(self, level: int, event: str, fields: dict[str, Any], exc: BaseException | None = None) -> None:
        logger = self._logger
        if logger.isEnabledFor(level):
            for name, value in (_bound.get() or {}).items():
                if fields.get(name) is None:
                    fields[name] = value
            # Logger.log would walk the stack for the place of the call, which no line shows.
            exc_info = None if exc is None else (type(exc), exc, exc.__traceback__)
            logger.handle(logger.makeRecord(logger.name, level, "", 0, event, (), exc_info, extra={"fields": fields}))


class _TextFormatter(logging.Formatter):
    def __init__(self, component: str, process: int | None, colour: bool) -> None:
        super().__init__()
        self.component, self.colour = component, colour
        self.tail = f" process={process}" if process is not None else ""

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        tail = "".join(f" {name}={_plain(value)}" for name, value in fields.items() if value is not None) + self.tail
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()} "
        line = f"{_at(record)} {self.component} {level}{record.getMessage()}{tail}"
        if self.colour and record.levelname in _COLOURS:
            line = f"{_COLOURS[record.levelname]}{line}\x1b[0m"
        if record.exc_info and record.exc_info[0]:
            line += "\n" + self.formatException(record.exc_info)
        return line


class _JsonFormatter(logging.Formatter):
    def __init__(self, component: str, process: int | None) -> None:
        super().__init__()
        self.component, self.process = component, process

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "at": _at(record),
            "level": record.levelname.lower(),
            "component": self.component,
            "event": record.getMessage(),
            **{name: value for name, value in getattr(record, "fields", {}).items() if value is not None},
        }
        if self.process is not None:
            entry["process"] = self.process
        if record.exc_info and record.exc_info[0]:
            entry["traceback"] = self.formatException(record.exc_info)
        return _as_json(entry)


def _plain(value: Any) -> str:
    """A field's value on one line, whatever is in it: paths and names come from outside."""
    if type(value) is int or type(value) is float:
        return str(value)
    text = value if isinstance(value, str) else _as_json(value)
    if not isinstance(value, str) or (text and " " not in text and '"' not in text and text.isprintable()):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _at(record: logging.LogRecord) -> str:
    second = int(record.created)
    return f"{_second(second)}.{int((record.created - second) * 1000):03d}Z"


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


class _BatchHandler(logging.StreamHandler[TextIO]):
    """Writes the lines of BATCH_SECONDS together; outside of an event loop, each at once."""

    def __init__(self, stream: TextIO, *, shared: bool) -> None:
        """``shared``: other processes write to the same place, so no line may be cut."""
        super().__init__(stream)
        self._shared = shared
        self._lines: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # whose timer will flush

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record) + self.terminator)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if record.levelno >= logging.WARNING:
            self.flush()
        elif self._loop is not loop:
            self._loop = loop
            loop.call_later(BATCH_SECONDS, self.flush)

    def flush(self) -> None:
        assert self.lock
        with self.lock:
            lines, self._lines, self._loop = self._lines, [], None
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


def configure(component: str, *, level: str = "info", format: str = "text", process: int | None = None) -> None:
    """Sends the process's log to standard error. ``process``: its number among several under one supervisor; each line then carries it."""
    for name in ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):  # what a record would find out, and no line shows
        setattr(logging, name, False)
    handler = _BatchHandler(sys.stderr, shared=process is not None)
    handler.setFormatter(_JsonFormatter(component, process) if format == "json" else _TextFormatter(component, process, sys.stderr.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("babygun").setLevel(level.upper())
