"""The process log: one line per event, as text for people or as JSON for collectors.

A text line is ``<time> <component> [<level>] <event> <field>=<value> …``. The events and their
fields are listed in :mod:`babygun.runtime.log_events`. Content and secrets are never logged.

What a request or a try is about is said once, by :func:`bind`. It then stands in each line that
the task logs, or a task that it starts.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, TextIO

import msgspec

_COLOURS = {logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.CRITICAL: "\x1b[31m"}

_root = logging.getLogger()
_own: logging.StreamHandler[TextIO] | None = None  # once the log is configured
_formatter: _Formatter
_encode_json = msgspec.json.Encoder(enc_hook=str).encode

_bound: ContextVar[dict[str, Any] | None] = ContextVar("babygun_log_fields", default=None)


def bind(**fields: Any) -> None:
    """Adds ``fields``, none of them None, to each line that this task logs from here on."""
    _bound.set({**(_bound.get() or {}), **fields})


def note(**fields: Any) -> None:
    """Adds ``fields`` to those of the last :func:`bind`. Before one it does nothing."""
    if (known := _bound.get()) is not None:
        known.update(fields)


def get_logger(name: str) -> Log:
    """The log of a component: ``api``, ``worker``, ``store``, ``health``, ``smtp``, ``dev``."""
    return Log(logging.getLogger(f"babygun.{name}"))


class Log:
    """A logger whose calls take an event and its fields. A field that is None is left out."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: str, **fields: Any) -> None:
        self.emit(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self.emit(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self.emit(logging.WARNING, event, fields)

    def error(self, event: str, *, exc: BaseException | None = None, **fields: Any) -> None:
        """``exc``: an unexpected exception, whose traceback is logged too."""
        self.emit(logging.ERROR, event, fields, exc)

    def emit(
        self, level: int, event: str, fields: dict[str, Any], exc: BaseException | None = None
    ) -> None:
        logger = self._logger
        if not logger.isEnabledFor(level):
            return
        if None in fields.values():
            fields = {name: value for name, value in fields.items() if value is not None}
        if around := _bound.get():
            fields = fields | around | fields  # the call's own stand first, and count
        if exc is None and _own is not None and _root.handlers == [_own]:
            # Past the LogRecord: 5 µs a line instead of 9, and each e-mail has two lines.
            try:
                _own.stream.write(_formatter.line(time.time(), level, event, fields) + "\n")
            except (OSError, ValueError):
                pass  # nobody reads the log any more
            return
        exc_info = None if exc is None else (type(exc), exc, exc.__traceback__)
        # Logger.log would search the stack for the place of the call, which no line shows.
        record = logger.makeRecord(
            logger.name, level, "", 0, event, (), exc_info, extra={"fields": fields}
        )
        logger.handle(record)


class _Formatter(logging.Formatter):
    """``process``: the number of this process among several under one supervisor."""

    def __init__(self, component: str, process: int | None) -> None:
        super().__init__()
        self._component, self._process = component, process

    def format(self, record: logging.LogRecord) -> str:
        """A line for a record, also for one of another library."""
        failed = record.exc_info and record.exc_info[0]
        return self.line(
            record.created,
            record.levelno,
            record.getMessage(),
            getattr(record, "fields", {}),
            self.formatException(record.exc_info) if failed and record.exc_info else None,
        )

    def line(
        self,
        created: float,
        level: int,
        event: str,
        fields: dict[str, Any],
        traceback: str | None = None,
    ) -> str:
        raise NotImplementedError


class _Text(_Formatter):
    def __init__(self, component: str, process: int | None, colour: bool) -> None:
        super().__init__(component, process)
        self._colour = colour
        self._tail = "" if process is None else f" process={process}"

    def line(
        self,
        created: float,
        level: int,
        event: str,
        fields: dict[str, Any],
        traceback: str | None = None,
    ) -> str:
        shown = "" if level == logging.INFO else f"{logging.getLevelName(level).lower()} "
        parts = [f"{_at(created)} {self._component} {shown}{event}"]
        parts += [f"{name}={_shown(value)}" for name, value in fields.items()]
        line = " ".join(parts) + self._tail
        if self._colour and level in _COLOURS:
            line = f"{_COLOURS[level]}{line}\x1b[0m"
        return line if traceback is None else f"{line}\n{traceback}"


class _Json(_Formatter):
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
            "component": self._component,
            "event": event,
            **fields,
        }
        if self._process is not None:
            entry["process"] = self._process
        if traceback is not None:
            entry["traceback"] = traceback
        return _as_json(entry)


def _shown(value: Any) -> str:
    """A field's value on one line, whatever is in it: paths and names come from outside."""
    if not isinstance(value, str):
        return str(value) if type(value) in (int, float) else _as_json(value)
    printable = value.isprintable()
    if printable and value and " " not in value and '"' not in value:
        return value
    return json.dumps(value, ensure_ascii=not printable)


def _at(created: float) -> str:
    second = int(created)
    return f"{_second(second)}.{int((created - second) * 1000):03d}Z"


def _as_json(value: Any) -> str:
    """JSON that a terminal shows as it is: what could steer one, or turn its text, is escaped."""
    text = _encode_json(value).decode()
    # isprintable looks at each character, which takes 0.7 µs for a usual line.
    if (text.isascii() and "\x7f" not in text) or text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else json.dumps(character)[1:-1] for character in text
    )


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def configure(
    component: str, *, level: str = "info", format: str = "text", process: int | None = None
) -> None:
    """Sends the process's log to standard error.

    ``process``: its number among several under one supervisor; each line then carries it.
    """
    global _own, _formatter
    # What a LogRecord would find out, and no line shows.
    for name in ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):
        setattr(logging, name, False)
    _formatter = (
        _Json(component, process)
        if format == "json"
        else _Text(component, process, sys.stderr.isatty())
    )
    _own = logging.StreamHandler(sys.stderr)
    _own.setFormatter(_formatter)
    _root.handlers[:] = [_own]
    _root.setLevel(logging.WARNING)
    logging.getLogger("babygun").setLevel(level.upper())
