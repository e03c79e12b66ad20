"""``babygun suppressions import`` and ``export``: files of any size, in calls of a thousand lines.

So the progress is known, and a call that fails is repeated. That does no harm: what is on a list
stays as it is.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from babygun.api.suppressions.csv_rows import MOST_LINES
from babygun.api.suppressions.documents import SuppressionDocument
from babygun.api.suppressions.export import head_of, rows_of
from babygun.cli.remote import Remote, call_api
from babygun.errors import SettingsError

_LINES = 1000  # of one call
_BYTES = 512 << 10  # of one call, about
_JSON = (b"{", b"\xef\xbb\xbf{")  # how a line of NDJSON begins


class Part(NamedTuple):
    """Lines of a file for one call. ``first``: the number of the first one; ``head``: before it."""

    first: int
    head: bytes
    lines: list[bytes]

    @property
    def body(self) -> bytes:
        return self.head + b"".join(self.lines)

    def line(self, number: int) -> int:
        """The line of the file that is line ``number`` of the body."""
        return self.first + number - (2 if self.head else 1)


def import_file(path: str, params: Mapping[str, str], from_line: int) -> int:
    """Imports a file (``-``: standard input), from one of its lines on.

    Prints what became of the rows, and to standard error why some were refused; returns 1 then.
    Raises SettingsError if the file can't be read.
    """
    source, size = _opened(path)
    progress = Progress(size)

    async def work(remote: Remote) -> int:
        counts = {"added": 0, "kept": 0, "refused": 0}
        at = from_line
        try:
            for part in parts(source, from_line):
                at = part.first
                answer = await remote.insist(
                    "POST",
                    "/suppressions/import",
                    params=params,
                    data=part.body,  # no stream: a repeated call would find it at its end
                    headers={"Content-Type": _media_type(part)},
                )
                for name in counts:
                    counts[name] += answer[name]
                progress.clear()
                for error in answer["errors"]:
                    line = part.line(error["line"])
                    print(f"line {line}: {error['detail']}", file=sys.stderr)
                at = part.first + len(part.lines)
                progress.show(sum(map(len, part.lines)), f"{at - 1:,} lines", counts)
        except BaseException:
            progress.clear()
            _note(f"the lines before {at} are done: go on with --from-line {at}")
            raise
        progress.clear()
        print(f"{counts['added']} added, {counts['kept']} there already, {counts['refused']} bad")
        return 1 if counts["refused"] else 0

    return call_api(work)


def export_file(path: str, form: str, params: Mapping[str, str], cursor: str | None) -> int:
    """Writes all suppressions into a file (``-``: standard output); with a cursor at its end."""
    target = _created(path, append=cursor is not None)
    progress = Progress(0)

    async def work(remote: Remote) -> int:
        wanted = {"client": remote.client_id, **params, "limit": "1000"}
        rows, at = 0, cursor
        if cursor is None:
            target.write(head_of(form))
        try:
            while True:
                now = wanted if at is None else wanted | {"cursor": at}
                page = await remote.insist("GET", "/suppressions", params=now)
                found = msgspec.convert(page["suppressions"], list[SuppressionDocument])
                target.write(rows_of(found, form))
                target.flush()
                rows, at = rows + len(found), page["cursor"]
                progress.show(0, f"{rows:,} addresses", {})
                if at is None:
                    break
        except BaseException:
            progress.clear()
            if at is not None:
                _note(f"addresses written: {rows}; go on with --cursor {shlex.quote(at)}")
            raise
        progress.clear()
        _note(f"addresses written: {rows}")
        return 0

    return call_api(work)


def parts(source: BinaryIO, from_line: int) -> Iterator[Part]:
    """Cuts a file between its rows. Each part of a CSV file has the first line, if it is a head.

    Quotation marks that are open keep a row together, but no longer than the API would.
    """
    head, lines = b"", list[bytes]()
    size = quotes = 0
    for number, line in enumerate(source, 1):
        if not head and not lines and not line.strip():
            continue
        if not head and not lines and b"@" not in line and not line.startswith(_JSON):
            head = line
            continue
        if number < from_line:
            continue
        lines.append(line)
        size += len(line)
        quotes += line.count(b'"')
        full = len(lines) >= _LINES or size >= _BYTES
        if full and (quotes % 2 == 0 or len(lines) >= _LINES + MOST_LINES):
            yield Part(number + 1 - len(lines), head, lines)
            lines, size, quotes = [], 0, 0
    if lines:
        yield Part(number + 1 - len(lines), head, lines)


def _opened(path: str) -> tuple[BinaryIO, int]:
    """The file, and its size in bytes; 0 where it is not known."""
    if path == "-":
        return sys.stdin.buffer, 0
    try:
        return Path(path).open("rb"), Path(path).stat().st_size
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None


def _created(path: str, *, append: bool) -> BinaryIO:
    if path == "-":
        return sys.stdout.buffer
    try:
        return Path(path).open("ab" if append else "wb")
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None


def _media_type(part: Part) -> str:
    is_json = part.lines[0].startswith(_JSON) and not part.head
    return "application/x-ndjson" if is_json else "text/csv"


def _note(text: str) -> None:
    print(text, file=sys.stderr)


class Progress:
    """A line on the terminal that changes. Nothing where standard error is no terminal.

    ``size``: of the file in bytes; 0 where it is not known.
    """

    def __init__(self, size: int) -> None:
        self._size, self._done = size, 0
        self._shown = False

    def show(self, read: int, what: str, counts: Mapping[str, int]) -> None:
        """``read``: further bytes of the file."""
        self._done += read
        if not sys.stderr.isatty():
            return
        share = f"{min(100, 100 * self._done // self._size)} %, " if self._size else ""
        counted = "".join(f", {count:,} {name}" for name, count in counts.items())
        print(f"\r\x1b[K{share}{what}{counted}", end="", file=sys.stderr, flush=True)
        self._shown = True

    def clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = False
