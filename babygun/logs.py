"""Logging: one line per event, ``event field=value …`` for people or one JSON object for collectors.

Events have the names of the domain's verbs; ids are always ``email_id``, ``queue``, ``worker_id``, ``request_id``,
``client_id``. Content and secrets are never logged.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from babygun.clock import format_time, utc_now

_COLOURS = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m"}


def get_logger(name: str) -> Log:
    """The log of a component: ``api``, ``worker``, ``etcd``, ``smtp``, ``dev``."""
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
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, extra={"fields": fields}, exc_info=exc)


class _TextFormatter(logging.Formatter):
    def __init__(self, component: str, colour: bool) -> None:
        super().__init__()
        self.component, self.colour = component, colour

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        tail = "".join(f" {name}={_plain(value)}" for name, value in fields.items() if value is not None)
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()} "
        line = f"{format_time(utc_now())} {self.component} {level}{record.getMessage()}{tail}"
        if self.colour and record.levelname in _COLOURS:
            line = f"{_COLOURS[record.levelname]}{line}\x1b[0m"
        if record.exc_info and record.exc_info[0]:
            line += "\n" + self.formatException(record.exc_info)
        return line


class _JsonFormatter(logging.Formatter):
    def __init__(self, component: str) -> None:
        super().__init__()
        self.component = component

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "at": format_time(utc_now()),
            "level": record.levelname.lower(),
            "component": self.component,
            "event": record.getMessage(),
            **{name: value for name, value in getattr(record, "fields", {}).items() if value is not None},
        }
        if record.exc_info and record.exc_info[0]:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


def _plain(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return json.dumps(text, ensure_ascii=False) if isinstance(value, str) and (" " in text or '"' in text or not text) else text


def configure(component: str, *, level: str = "info", format: str = "text") -> None:
    """Sends the process's log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter(component) if format == "json" else _TextFormatter(component, sys.stderr.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("babygun").setLevel(level.upper())
